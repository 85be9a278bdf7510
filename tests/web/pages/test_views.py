"""What pages say, by table: no database, no template."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from piko.model.config_schema import HIDDEN
from piko.store.reports.attention import Facts
from piko.store.reports.config_history import RevisionReport
from piko.store.reports.job_troubles import of_job
from piko.store.reports.jobs import JobCounts
from piko.store.reports.jobs_in_need import JobInNeed
from piko.store.reports.overview import JobReport, RunReport
from piko.store.reports.replicas import LeaseReport, OperatorReport, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.store.reports.standing import JobStanding
from piko.store.reports.troubles import troubles
from piko.web.views import configs, front, links, runs, standing, words
from piko.web.views.words import Tone

NOW = datetime(2026, 1, 8, 12, tzinfo=UTC)
_HOUR = timedelta(hours=1)


_LEADER = LeaseReport(
    name="piko",
    epoch=7,
    holder="one",
    holder_host="host-0",
    acquired_at=NOW - _HOUR,
    renewed_at=NOW,
    expires_at=NOW + _HOUR,
    leads=True,
)


def facts(*needs: JobInNeed) -> Facts:
    return Facts(
        now=NOW,
        server=ServerReport(kind="sqlite", release="3.45", now=NOW, operators=[]),
        leaders=[_LEADER],
        replicas=[],
        jobs=JobCounts(jobs=1, late=0, failing=0, waiting=0, invalid=0, unregistered=0, disabled=0),
        runs=RunCounts(running=0, queued=0, missed=0),
        of_jobs=[trouble for need in needs for trouble in of_job(need, NOW, "UTC")],
    )


def job(**values: Any) -> JobReport:
    blank: dict[str, Any] = dict.fromkeys(JobReport.__dataclass_fields__)
    said = {"job_id": "a", "schedule_type": "cron", "schedule_expr": '"@hourly"', "enabled": True}
    return JobReport(**{**blank, **said, "status": "Scheduled", "version": 1, "updated_at": NOW, **values})


def run(**values: Any) -> RunReport:
    blank: dict[str, Any] = dict.fromkeys(RunReport.__dataclass_fields__)
    said = {"run_id": "r", "job_id": "a", "scheduled_time": NOW, "attempt": 1, "state": "SUCCESS"}
    return RunReport(**{**blank, **said, "trigger_type": "schedule", **values})


@pytest.mark.parametrize(
    ("values", "kind", "text", "since", "error"),
    [
        (
            {"consecutive_failures": 1, "last_state": "FAILED", "last_success_at": NOW - _HOUR},
            "failing",
            "the last run failed",
            NOW - _HOUR,
            "no error was recorded",
        ),
        (
            {
                "consecutive_failures": 3,
                "last_state": "LOST",
                "next_run_at": NOW - _HOUR,
                "last_error": "KeyError: 7\nmore",
            },
            "failing",
            "3 runs in a row failed; it has never succeeded, and the next one is late",
            None,
            "KeyError: 7",
        ),
        (
            {"next_run_at": NOW - _HOUR},
            "late",
            "it was due 60m ago and has not started",
            NOW - _HOUR,
            None,
        ),
        ({"status": "Invalid", "message": "hour = 25\nmore"}, "invalid", "hour = 25", NOW, None),
        ({"status": "WaitingForConfig"}, "waits_for_config", "it cannot run", NOW, None),
    ],
)
def test_what_a_job_needs_is_one_sentence(
    values: dict[str, Any], kind: str, text: str, since: datetime | None, error: str | None
) -> None:
    (found,) = troubles(facts(JobInNeed(job=job(**values))))
    assert (found.kind, found.text, found.since, found.error) == (kind, text, since, error)
    shown = front.need(found, NOW)
    assert (shown.link, shown.owner, shown.since) == ("jobs/a", "SQL", words.moment(since, NOW))
    assert shown.sentence == f"{text[0].upper()}{text[1:]}."


def test_what_is_not_counted_to_its_end_says_so() -> None:
    jobs = JobCounts(jobs=10_000, late=999, failing=1000, waiting=0, invalid=0, unregistered=0, disabled=2000)
    runs_open = RunCounts(running=1000, queued=7, missed=0)
    shown = {item.name: item.count for item in front.counters(jobs, runs_open, [])}
    assert (shown["Late"], shown["Failing"], shown["Running"]) == ("999", "1,000+", "1,000+")
    assert (shown["Jobs"], shown["Paused"], shown["Queued"]) == ("10,000", "2,000", "7")


def test_a_paused_job_needs_nobody() -> None:
    values = {"consecutive_failures": 3, "last_state": "FAILED", "next_run_at": NOW - _HOUR}
    paused = JobInNeed(job=job(enabled=False, **values))
    assert troubles(facts(paused)) == []


@pytest.mark.parametrize(
    ("leaders", "text", "detail"),
    [
        ([], "none yet", "No replica has led: nothing is scheduled. Start one."),
        ([_LEADER], "host-0", "epoch 7"),
        (
            [replace(_LEADER, leads=False)],
            "none",
            "host-0 went silent (epoch 7): nothing is scheduled until a replica leads.",
        ),
        (
            [replace(_LEADER, leads=False, holder=None)],
            "none",
            "The last leader released its lease (epoch 7): nothing is scheduled until a replica leads.",
        ),
    ],
)
def test_the_first_part_says_who_leads_or_why_nobody_does(
    leaders: list[LeaseReport], text: str, detail: str
) -> None:
    (part,) = front.leader_parts(leaders, NOW)
    assert (part.mark.text, part.detail) == (text, detail)
    assert (part.mark.tone is Tone.GOOD) is (detail == "epoch 7")


def test_a_silent_replica_and_a_mix_of_releases_are_warned_of() -> None:
    one = ReplicaReport(
        instance_id="1",
        app="a",
        host="host-0",
        pid=1,
        version="1.0",
        started_at=NOW,
        heartbeat_at=NOW,
        stopped_at=None,
        silent_s=2.0,
        silent=False,
        jobs=3,
    )
    assert front.replica_part([one]).mark == words.Mark(text="1 alive", tone=Tone.GOOD)
    silent = front.replica_part([one, replace(one, host="host-1", silent=True)])
    assert (silent.mark.tone, silent.detail) == (Tone.WARN, "1.0; silent: host-1")
    mixed = front.replica_part([one, replace(one, version="1.1")])
    assert (mixed.mark.tone, mixed.detail) == (Tone.WARN, "1.0, 1.1")
    assert front.replica_part([replace(one, silent=True)]).mark.tone is Tone.BAD


def test_a_database_whose_clock_is_apart_is_warned_of() -> None:
    operators = [OperatorReport(cluster=name, heartbeat_at=NOW, silent=False) for name in ("prod", "test")]
    server = ServerReport(kind="mysql", release="10.11.6-MariaDB", now=NOW + _HOUR, operators=operators)
    database, operator = front.server_parts(server, NOW)
    assert (database.mark.tone, database.detail) == (
        Tone.WARN,
        "MariaDB 10.11.6; its clock is 60m apart from ours",
    )
    assert (operator.mark.text, operator.detail) == ("2 clusters", "prod, test")


def test_bars_go_from_the_oldest_to_the_newest_and_reach_as_high_as_they_took() -> None:
    found = runs.bars([run(run_id="new", duration_s=10.0), run(run_id="old", state="MISSED", missed_count=4)])
    assert [(bar.link, bar.height, bar.x, bar.tone) for bar in found] == [
        ("runs/old", 6, 0, "warn"),
        ("runs/new", 40, 10, "good"),
    ]
    assert found[0].title == "Missed x4, due 2026-01-08 12:00:00 UTC"


_NESTED = {
    "properties": {
        "plain": {"type": "string"},
        "token": {"anyOf": [{"type": "string", "format": "password", "writeOnly": True}, {"type": "null"}]},
        "targets": {"type": "array", "items": {"$ref": "#/$defs/Target"}},
        "by_name": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Target"}},
    },
    "$defs": {
        "Target": {
            "properties": {"key": {"writeOnly": True}, "next": {"$ref": "#/$defs/Target"}},
        }
    },
}


def test_a_value_that_the_model_declares_secret_is_never_shown_wherever_it_is() -> None:
    target = {"key": "secret", "next": {"key": "secret"}}
    config = {"plain": "seen", "token": "secret", "targets": [target], "by_name": {"one": target}}
    text = configs.shown(json.dumps(config), json.dumps(_NESTED))
    assert "secret" not in text
    assert "seen" in text
    assert text.count(HIDDEN) == 5


@pytest.mark.parametrize("text", ["", "[", "nonsense"])
def test_a_config_that_is_no_json_is_not_shown(text: str) -> None:
    assert configs.shown(text, None) == "(not JSON)"


def _revision(number: int, **values: Any) -> RevisionReport:
    blank: dict[str, Any] = dict.fromkeys(RevisionReport.__dataclass_fields__)
    said = {"revision": number, "schema_version": 1, "config_json": "{}", "created_at": NOW - _HOUR}
    return RevisionReport(**{**blank, **said, **values})


_STANDING = JobStanding(
    version=4,
    updated_at=NOW - _HOUR,
    managed_by="prod/data/orders/uid",
    observed_version=4,
    config_version=2,
    config_updated_at=NOW - _HOUR,
    config_managed_by=None,
    app="a",
    handler="a:a",
    hosts=(),
)


@pytest.mark.parametrize(
    ("changed", "revisions", "expected"),
    [
        ({}, [_revision(1)], ["Agree", "Agree"]),
        ({"observed_version": 3}, [_revision(1)], ["Edit not taken up yet", "Agree"]),
        ({"observed_version": None}, [], ["Not seen by a leader", "Not seen by a leader"]),
        ({}, [_revision(1), _revision(2, error="no")], ["Agree", "The newest is invalid"]),
        ({}, [_revision(1), _revision(2, effective_from=NOW + _HOUR)], ["Agree", "Takes effect in 60m"]),
        ({"config_version": None}, [], ["Agree", "Agree"]),
        ({"config_version": None}, [_revision(1)], ["Agree", "The row was deleted"]),
    ],
)
def test_differences_between_declared_row_and_in_force_are_named(
    changed: dict[str, Any], revisions: list[RevisionReport], expected: list[str]
) -> None:
    found = standing.stages(replace(_STANDING, **changed), revisions, NOW)
    assert [stage.mark.text for stage in found] == expected
    assert found[0].look == "kubectl get pikoschedule orders -n data -o yaml"


@pytest.mark.parametrize(("path", "root"), [("/", "./"), ("/jobs", "./"), ("/jobs/a", "./../")])
def test_links_lead_back_to_where_the_pages_begin(path: str, root: str) -> None:
    assert links.root_of(path) == root


def test_a_link_holds_whatever_an_id_holds() -> None:
    assert links.run("a/b?c#d") == "runs/a%2Fb%3Fc%23d"
