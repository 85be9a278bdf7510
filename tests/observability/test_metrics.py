from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from prometheus_client import Metric, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from piko.observability.metrics import Metrics

NAMES = {
    "piko_backfill_windows": "gauge",
    "piko_build_info": "gauge",
    "piko_cpu_items_total": "counter",
    "piko_cpu_workers": "gauge",
    "piko_cpu_workers_busy": "gauge",
    "piko_cpu_workers_lost_total": "counter",
    "piko_crashes_seen_total": "counter",
    "piko_db_connections": "gauge",
    "piko_db_connections_limit": "gauge",
    "piko_db_errors_total": "counter",
    "piko_lease_errors_total": "counter",
    "piko_event_loop_blocked_total": "counter",
    "piko_handlers_abandoned_total": "counter",
    "piko_event_loop_blocked_seconds_total": "counter",
    "piko_http_connections_dropped_total": "counter",
    "piko_invalid_configs": "gauge",
    "piko_hook_calls_total": "counter",
    "piko_invalid_rows": "gauge",
    "piko_job_duration_seconds": "histogram",
    "piko_handler_thread_calls": "gauge",
    "piko_job_consecutive_failures": "gauge",
    "piko_job_deadline_timestamp_seconds": "gauge",
    "piko_job_last_run_timestamp_seconds": "gauge",
    "piko_job_last_success_timestamp_seconds": "gauge",
    "piko_job_missed_total": "counter",
    "piko_job_next_run_timestamp_seconds": "gauge",
    "piko_job_retries_total": "counter",
    "piko_job_run_total": "counter",
    "piko_job_skipped_total": "counter",
    "piko_job_start_delay_seconds": "histogram",
    "piko_job_watermark_timestamp_seconds": "gauge",
    "piko_claim_horizon_seconds": "gauge",
    "piko_clock_offset_seconds": "gauge",
    "piko_jobs_held": "gauge",
    "piko_jobs_running": "gauge",
    "piko_jobs_running_limit": "gauge",
    "piko_leader_status": "gauge",
    "piko_leader_transitions_total": "counter",
    "piko_locks_pruned_total": "counter",
    "piko_outcome_spool_errors_total": "counter",
    "piko_outcomes_pending": "gauge",
    "piko_outcomes_recovered_total": "counter",
    "piko_outcomes_spooled_total": "counter",
    "piko_part_restarts_total": "counter",
    "piko_persistence_batch_size": "histogram",
    "piko_persistence_dead_letter_total": "counter",
    "piko_persistence_intents_total": "counter",
    "piko_persistence_memory_limit": "gauge",
    "piko_persistence_memory_size": "gauge",
    "piko_persistence_oldest_timestamp_seconds": "gauge",
    "piko_persistence_queue_size": "gauge",
    "piko_persistence_recovered_total": "counter",
    "piko_persistence_sink_failure_total": "counter",
    "piko_persistence_spilled_total": "counter",
    "piko_queue_oldest_timestamp_seconds": "gauge",
    "piko_ready": "gauge",
    "piko_reconcile_duration_seconds": "histogram",
    "piko_reconcile_total": "counter",
    "piko_rows_read_timestamp_seconds": "gauge",
    "piko_rows_refused_total": "counter",
    "piko_runs_pruned_total": "counter",
    "piko_runs_queued": "gauge",
    "piko_session_lock_held": "gauge",
    "piko_spool_persistent": "gauge",
    "piko_webhook_oldest_timestamp_seconds": "gauge",
    "piko_webhook_posts_total": "counter",
}
"""What dashboards and alerts are written against."""

LABELS = {
    "piko_event_loop_blocked_total": {"job_id"},
    "piko_handlers_abandoned_total": {"job_id"},
    "piko_event_loop_blocked_seconds_total": {"job_id"},
    "piko_build_info": {"version", "python"},
    "piko_hook_calls_total": {"called_for", "outcome"},
    "piko_webhook_posts_total": {"called_for", "outcome"},
    "piko_cpu_items_total": {"outcome"},
    "piko_db_errors_total": {"part"},
    "piko_backfill_windows": {"state"},
    "piko_job_missed_total": {"job_id", "reason"},
    "piko_job_retries_total": {"job_id", "status"},
    "piko_job_skipped_total": {"job_id", "reason"},
    "piko_persistence_oldest_timestamp_seconds": {"sink"},
    "piko_job_run_total": {"job_id", "status"},
    "piko_outcomes_recovered_total": {"how"},
    "piko_leader_status": {"host"},
    "piko_part_restarts_total": {"part"},
    "piko_reconcile_total": {"outcome"},
    "piko_rows_refused_total": {"what"},
}


def used() -> Metrics:
    """Metrics of which each has a series."""
    metrics = Metrics()
    metrics.job_runs.inc("job", "SUCCESS")
    metrics.job_missed.inc("job", "misfire", 3)
    metrics.job_skipped.inc("job", "overlap")
    metrics.job_retries.inc("job", "FAILED")
    metrics.queue_oldest.replace({"": datetime.fromtimestamp(1_800_000_000, UTC)})
    metrics.persistence_oldest.replace({"sink": datetime.fromtimestamp(1_800_000_000, UTC), "idle": None})
    metrics.backfill_windows.labels("left").set(3)
    metrics.rows_refused.labels("a claim").inc()
    metrics.reconciles.labels("ok").inc()
    metrics.leader.labels("here").set(1)
    metrics.db_errors.labels("ledger").inc()
    metrics.outcomes_recovered.labels("recorded").inc()
    metrics.part_restarts.labels("ledger").inc()
    ended_at = datetime.fromtimestamp(1_800_000_000, UTC)
    metrics.job_duration.observe("job", 0.2, run_id="run-1", at=ended_at)
    metrics.job_start_delay.observe("job", 0.2)
    for gauge in (
        metrics.job_last_success,
        metrics.job_last_run,
        metrics.job_next_run,
        metrics.job_watermark,
    ):
        gauge.set("job", datetime.fromtimestamp(1_800_000_000, UTC))
    return metrics


@pytest.fixture(scope="module")
def families() -> list[Metric]:
    return list(parse_text(generate_latest(used().registry).decode()))


def full_name(family: Metric) -> str:
    """As it is written in a query; the parser takes the suffix off counters."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def made_by_the_library(family: Metric) -> bool:
    """When a series was made, which the library adds to counters and histograms."""
    return family.name.endswith("_created")


@pytest.fixture(scope="module")
def own(families: list[Metric]) -> list[Metric]:
    return [family for family in families if not made_by_the_library(family)]


def test_names_and_types_are_those_that_are_promised(own: list[Metric]) -> None:
    assert {full_name(family): family.type for family in own} == NAMES


def test_labels_are_those_that_are_promised_and_never_a_run(own: list[Metric]) -> None:
    for family in own:
        name = full_name(family)
        expected = LABELS.get(name, {"job_id"} if name.startswith("piko_job_") else set())
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == expected, name


def test_two_apps_of_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()
    one.job_runs.inc("job", "SUCCESS")
    assert (
        other.registry.get_sample_value("piko_job_run_total", {"job_id": "job", "status": "SUCCESS"}) is None
    )


def test_the_build_is_reported() -> None:
    (sample,) = [
        sample
        for family in Metrics().registry.collect()
        for sample in family.samples
        if sample.name == "piko_build_info"
    ]
    assert sample.value == 1
    assert re.fullmatch(r"\d+\.\d+.*", sample.labels["version"])


# ---- the rules of `promtool check metrics` ----------------------------------------------------------

BASE_UNITS = {
    "amperes",
    "bytes",
    "celsius",
    "grams",
    "joules",
    "kelvin",
    "meters",
    "metres",
    "moles",
    "seconds",
    "volts",
}
SMALLER = {"milli", "micro", "nano", "kilo", "mega", "giga", "tera", "kibi", "mebi", "gibi"}
OTHER_UNITS = {
    "minutes",
    "hours",
    "days",
    "weeks",
    "bits",
    "fahrenheit",
    "kelvins",
    "ratio_percent",
    "percent",
}
ABBREVIATIONS = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d"}
CAMEL_CASE = re.compile(r"[a-z][A-Z]")
KINDS = {"gauge", "counter", "summary", "histogram", "untyped"}


def complaints(family: Metric) -> Iterator[str]:
    yield from of_the_type(family)
    yield from of_the_words(full_name(family))
    for label in {label for sample in family.samples for label in sample.labels}:
        if CAMEL_CASE.search(label) or (label == "le" and family.type != "histogram"):
            yield f"the label {label}"


def of_the_type(family: Metric) -> Iterator[str]:
    name = full_name(family)
    if not family.documentation:
        yield "no help text"
    if family.type != "counter" and name.endswith("_total"):
        yield "only a counter ends in _total"
    if family.type not in ("histogram", "summary") and name.endswith(("_bucket", "_count", "_sum")):
        yield "a suffix of histograms"


def of_the_words(name: str) -> Iterator[str]:
    words = name.split("_")
    if KINDS.intersection(words):
        yield "the type is no part of the name"
    if ":" in name:
        yield "colons are for rules"
    if CAMEL_CASE.search(name):
        yield "camelCase"
    if {f"{prefix}{unit}" for prefix in SMALLER for unit in BASE_UNITS}.union(OTHER_UNITS).intersection(
        words
    ):
        yield "not a base unit"
    if ABBREVIATIONS.intersection(words):
        yield "an abbreviated unit"


def test_the_rules_of_prometheus_are_kept(families: list[Metric]) -> None:
    reported = {family.name: list(complaints(family)) for family in families}
    assert {name: found for name, found in reported.items() if found} == {}


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("piko_wait_milliseconds", "gauge", "not a base unit"),
        ("piko_wait_ms", "gauge", "an abbreviated unit"),
        ("piko_runs_total", "gauge", "only a counter"),
        ("piko_runs_gauge", "gauge", "the type"),
        ("piko_runs_count", "gauge", "a suffix of histograms"),
        ("piko_runsFailed", "gauge", "camelCase"),
    ],
)
def test_the_rules_see_what_they_are_for(name: str, kind: str, expected: str) -> None:
    assert any(found.startswith(expected) for found in complaints(Metric(name, "Help.", kind)))


# ---- OpenMetrics ------------------------------------------------------------------------------------


def test_openmetrics_parses_and_names_the_run_behind_a_duration() -> None:
    families = list(parse_openmetrics(generate_openmetrics(used().registry).decode()))
    assert {full_name(family) for family in families} >= NAMES.keys() - {"piko_build_info"}
    exemplars = [
        sample.exemplar.labels
        for family in families
        if family.name == "piko_job_duration_seconds"
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert exemplars == [{"run_id": "run-1"}]


def test_a_job_of_an_awkward_id_is_one_label_value() -> None:
    metrics = Metrics()
    metrics.job_runs.inc('a"b\\c\n', "SUCCESS")
    (family,) = [
        item for item in parse_text(generate_latest(metrics.registry).decode()) if item.name == "piko_job_run"
    ]
    assert family.samples[0].labels["job_id"] == 'a"b\\c\n'


# ---- deleted jobs -----------------------------------------------------------------------------


def test_nothing_is_said_any_more_of_a_job_whose_row_was_deleted() -> None:
    metrics = used()
    metrics.job_next_run.set("other", datetime.fromtimestamp(1, UTC))
    metrics.forget_job("job")
    metrics.forget_job("never seen")
    text = generate_latest(metrics.registry).decode()
    instants = [
        line for line in text.splitlines() if line.startswith("piko_job") and "_timestamp_seconds{" in line
    ]
    assert instants == ['piko_job_next_run_timestamp_seconds{job_id="other"} 1.0']
    assert 'piko_job_run_total{job_id="job",status="SUCCESS"} 1.0' in text, "what was counted stays counted"


OF_THE_LEADER = [
    f"piko_job_{what}_timestamp_seconds" for what in ("last_success", "last_run", "next_run", "watermark")
]


def test_what_does_not_wait_has_no_age() -> None:
    metrics = used()
    name = "piko_persistence_oldest_timestamp_seconds"
    assert metrics.registry.get_sample_value(name, {"sink": "idle"}) is None
    assert metrics.registry.get_sample_value(name, {"sink": "sink"}) == 1_800_000_000
    metrics.queue_oldest.replace({"": None})
    assert metrics.registry.get_sample_value("piko_queue_oldest_timestamp_seconds") is None


def test_a_replica_that_no_longer_leads_says_nothing_of_jobs() -> None:
    metrics = used()
    metrics.runs_queued.set(7)
    metrics.forget_jobs()
    assert metrics.registry.get_sample_value("piko_queue_oldest_timestamp_seconds") is None
    assert metrics.registry.get_sample_value("piko_backfill_windows", {"state": "left"}) is None
    sample = metrics.registry.get_sample_value
    assert [sample(name, {"job_id": "job"}) for name in OF_THE_LEADER] == [None] * 4
    assert sample("piko_runs_queued") == 0


def test_while_it_cannot_act_as_leader_a_replica_says_nothing_of_jobs() -> None:
    metrics = used()
    sample = metrics.registry.get_sample_value
    before = [sample(name, {"job_id": "job"}) for name in OF_THE_LEADER]
    assert None not in before
    metrics.leads = lambda: False
    assert [sample(name, {"job_id": "job"}) for name in OF_THE_LEADER] == [None] * 4
    metrics.leads = lambda: True
    assert [sample(name, {"job_id": "job"}) for name in OF_THE_LEADER] == before


def test_an_instant_advances_and_never_goes_back() -> None:
    metrics = Metrics()
    for seconds in (5, 9, 7):
        metrics.job_last_run.advance("job", datetime.fromtimestamp(seconds, UTC))
    assert metrics.registry.get_sample_value("piko_job_last_run_timestamp_seconds", {"job_id": "job"}) == 9
