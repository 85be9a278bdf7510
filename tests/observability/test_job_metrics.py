"""Metrics of jobs say what the client's own would say."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.openmetrics.exposition import generate_latest

from piko.observability.job_metrics import JobCounter, JobHistogram

BOUNDS = (0.005, 0.5, 1, 10)
AT = datetime(2026, 1, 8, tzinfo=UTC)
JOBS = st.sampled_from(["sync", 'a"b\\c\n'])
SECONDS = st.one_of(st.sampled_from([0.0, *BOUNDS]), st.floats(0, 1e6))


def text(registry: CollectorRegistry) -> list[str]:
    """What is exported, but for when a series was made and when an exemplar was seen."""
    lines = generate_latest(registry).decode().splitlines()
    return sorted(
        line.rpartition(" ")[0] if " # {" in line else line for line in lines if "_created" not in line
    )


@settings(deadline=None)
@given(st.lists(st.tuples(JOBS, SECONDS, st.booleans())))
def test_a_histogram_by_job_exports_what_the_client_exports(seen: list[tuple[str, float, bool]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = JobHistogram("trial_seconds", "Help.", buckets=BOUNDS, detailed=lambda: True, registry=ours)
    other = Histogram("trial_seconds", "Help.", ["job_id"], buckets=BOUNDS, registry=theirs)
    for number, (job_id, seconds, named) in enumerate(seen):
        run_id = f"run-{number}" if named else None
        mine.observe(job_id, seconds, run_id=run_id, at=AT if named else None)
        other.labels(job_id).observe(seconds, {"run_id": run_id} if run_id else None)
    assert text(ours) == text(theirs)


@settings(deadline=None)
@given(st.lists(st.tuples(JOBS, st.sampled_from(["SUCCESS", "FAILED"]), st.integers(1, 5))))
def test_a_counter_by_job_exports_what_the_client_exports(seen: list[tuple[str, str, int]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    mine = JobCounter("trial", "Help.", label="status", registry=ours)
    other = Counter("trial", "Help.", ["job_id", "status"], registry=theirs)
    for job_id, status, by in seen:
        mine.inc(job_id, status, by)
        other.labels(job_id, status).inc(by)
    assert text(ours) == text(theirs)
