"""Why a job does not run, or what happened to a due time: each reason with its kind, on each database."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx

from piko.store.reports.explanations import ReasonKind
from tests.harness.databases import TestDatabase
from tests.web.rows import FIRST, add_jobs, quoted

_HOUR = timedelta(hours=1)
_RUNS: tuple[tuple[str, str | None, str], ...] = (
    ("SUCCESS", None, "ran"),
    ("FAILED", "KeyError: 'customer_id'", "failed"),
    ("TIMEOUT", "timeout_s = 5", "failed"),
    ("CANCELLED", "cancelled by ann", "cancelled"),
    ("CANCELLED", "taken back before it started: its schedule was paused", "paused"),
    ("LOST", "its instance two has sent no heartbeat", "lost"),
    ("LOST", "its instance one has sent no heartbeat", "fenced"),
    ("RUNNING", None, "running"),
    ("QUEUED", None, "queued"),
    ("MISSED", "older than misfire_grace_s = 300", "missed"),
    ("MISSED", "max_lookback_s = 3600 drops the windows from 00:00 to 01:00", "out_of_bounds"),
    ("MISSED", "backfill_max_windows = 2 drops the windows from 00:00 to 01:00", "out_of_bounds"),
    ("SKIPPED", "coalesced into a later instant", "coalesced"),
    ("SKIPPED", "1 of max_instances = 1 in progress (overlap_policy = skip)", "overlap"),
    ("SKIPPED", "the watermark moved", "skipped"),
)
"""State and error of a run, and the kind of reason that it is: one due time an hour."""
_CURES = {
    "fenced": "piko runs retry run-6 runs it again",
    "missed": "piko edit a --set misfire_grace_s=SECONDS",
    "out_of_bounds": "piko backfill a --from 2026-01-08T",
    "coalesced": "piko edit a --set coalesce=false",
    "overlap": "piko edit a --set overlap_policy=queue_all",
    "paused": "due times of a pause are not made up; piko trigger a",
}
"""What cures such a reason."""


async def _explain(web: httpx.AsyncClient, job_id: str, at: object = None) -> list[dict[str, Any]]:
    params = {} if at is None else {"at": str(at).replace(" ", "T")}
    answer = await web.get(f"/api/v1/jobs/{job_id}/explain", params=params)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["reasons"])


async def _stage(database: TestDatabase) -> None:
    """A leader of epoch 3, which has taken over from instance `one`, that is alive."""
    await database.execute(
        "INSERT INTO leader_lease (name, epoch, holder, holder_host, acquired_at, renewed_at, expires_at) "
        "VALUES ('piko', 3, 'two', 'host-two', '2026-01-01', '2026-01-01', '2999-01-01')"
    )
    await database.execute(
        "INSERT INTO runtime_instance "
        "(instance_id, app, host, pid, version, started_at, heartbeat_at, fenced_epoch) "
        "VALUES ('one', 'demo', 'host-one', 1, '0', '2026-01-01', '2998-01-01', 2)"
    )


async def test_each_run_at_a_due_time_is_a_reason_of_its_kind(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await _stage(emptied_database)
    await add_jobs(emptied_database, "a")
    await emptied_database.execute("INSERT INTO job_state (job_id, status) VALUES ('a', 'Scheduled')")
    rows = []
    for number, (state, error, kind) in enumerate(_RUNS):
        due = quoted(FIRST + number * _HOUR)
        said = "NULL" if error is None else "'" + error.replace("'", "''") + "'"
        instance = "'one'" if kind == "fenced" else "'two'"
        rows.append(f"('run-{number}', 'a', {due}, '{state}', {due}, {said}, {instance}, 2)")
    await emptied_database.execute(
        "INSERT INTO job_run (run_id, job_id, scheduled_time, state, finished_at, error, instance_id, epoch) "
        f"VALUES {', '.join(rows)}"
    )
    for number, (state, error, kind) in enumerate(_RUNS):
        (reason,) = await _explain(web, "a", FIRST + number * _HOUR)
        assert (reason["kind"], reason["run"]["run_id"]) == (kind, f"run-{number}"), (state, error)
        assert state in reason["text"]
        assert error is None or error in reason["text"]
        assert _CURES.get(kind, "") in (reason["remedy"] or "")
    newest = await _explain(web, "a")
    assert [item["run"]["run_id"] for item in newest] == [f"run-{14 - number}" for number in range(5)]


async def test_the_cure_is_where_the_row_is_written(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await _stage(emptied_database)
    await add_jobs(emptied_database, "sql")
    await add_jobs(emptied_database, "resource", owner="prod/data/orders/uid")
    await add_jobs(emptied_database, "file", owner="dev/local/orders/uid")
    cures = {
        "sql": {
            "MISSED": "piko trigger sql runs it once, now; piko edit sql --set misfire_grace_s=SECONDS",
            "SKIPPED": "piko edit sql --set coalesce=false has each due time run",
        },
        "resource": {
            "MISSED": "kubectl patch pikoschedule orders -n data --type merge "
            """-p '{"spec": {"misfireGrace": "DURATION"}}'""",
            "SKIPPED": "kubectl patch pikoschedule orders -n data --type merge "
            """-p '{"spec": {"coalesce": false}}' has each due time run""",
        },
        "file": {
            "MISSED": """{"misfireGrace": "DURATION"} in spec of the resource file of orders""",
            "SKIPPED": """{"coalesce": false} in spec of the resource file of orders""",
        },
    }
    errors = {"MISSED": "older than misfire_grace_s = 300", "SKIPPED": "coalesced into a later instant"}
    for job_id, expected in cures.items():
        for number, (state, cure) in enumerate(expected.items()):
            due = FIRST + number * _HOUR
            await emptied_database.execute(
                "INSERT INTO job_run (run_id, job_id, scheduled_time, state, error) VALUES "
                f"('{job_id}-{number}', '{job_id}', {quoted(due)}, '{state}', '{errors[state]}')"
            )
            reason, *_ = await _explain(web, job_id, due)
            assert cure in reason["remedy"]


async def test_an_instant_without_a_run_is_explained_by_schedule_row_and_log(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await _stage(emptied_database)
    await add_jobs(emptied_database, "a")
    await emptied_database.execute("INSERT INTO job_state (job_id, status) VALUES ('a', 'Scheduled')")
    await emptied_database.execute(
        f"UPDATE scheduled_job SET start_at = {quoted(FIRST)}, updated_at = {quoted(FIRST + 2 * _HOUR)}"
    )
    for number, (what, hour) in enumerate((("pause", 5), ("resume", 8))):
        await emptied_database.execute(
            "INSERT INTO change_log (change_id, at, who, via, what, job_id, reason) VALUES "
            f"('{number}', {quoted(FIRST + hour * _HOUR)}, 'ann', 'api', '{what}', 'a', 'the source is down')"
        )
    said = {}
    for name, at in {
        "not_due": FIRST + 0.5 * _HOUR,
        "before its bounds": FIRST - _HOUR,
        "before the edit": FIRST + _HOUR,
        "after the edit": FIRST + 4 * _HOUR,
        "paused": FIRST + 6 * _HOUR,
        "resumed": FIRST + 9 * _HOUR,
        "coming": FIRST.replace(year=2999),
    }.items():
        (said[name],) = await _explain(web, "a", at)
    assert said["not_due"]["kind"] == said["before its bounds"]["kind"] == "not_due"
    assert "the nearest: 2026-01-08T00:00:00Z and 2026-01-08T01:00:00Z" in said["not_due"]["text"]
    assert said["before the edit"]["kind"] == "no_run"
    assert "it lies before the last change of the row" in said["before the edit"]["text"]
    assert "no leader has claimed it yet, or its run was deleted" in said["after the edit"]["text"]
    assert said["paused"]["kind"] == "paused"
    assert "ann had paused it at 2026-01-08T05:00:00Z: the source is down" in said["paused"]["text"]
    assert said["resumed"]["kind"] == "no_run"
    assert said["coming"]["kind"] == "coming"


async def test_what_holds_back_every_due_time_is_said_with_its_cure(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    jobs = {
        "off": ("Disabled", None, "paused", "piko resume off"),
        "bad": ("Invalid", "schedule_expr: no such hour", "invalid", "piko edit bad --set FIELD=VALUE"),
        "nocode": ("Unregistered", "no replica has it", "unregistered", "deploy a replica with the code"),
        "nocfg": ("WaitingForConfig", "field x is required", "waits_for_config", "apply a PikoJobConfig"),
        "over": ("Completed", None, "completed", "change its schedule"),
        "noted": ("Scheduled", "claims are put off", "noted", None),
    }
    await add_jobs(emptied_database, *jobs, "unseen")
    await emptied_database.execute("UPDATE scheduled_job SET enabled = 0 WHERE job_id = 'off'")
    for job_id, (status, message, _, _) in jobs.items():
        text = "NULL" if message is None else f"'{message}'"
        await emptied_database.execute(
            f"INSERT INTO job_state (job_id, status, message) VALUES ('{job_id}', '{status}', {text})"
        )
    for job_id, (_, message, kind, cure) in jobs.items():
        leader, reason, *_ = await _explain(web, job_id)
        assert (leader["kind"], reason["kind"]) == ("no_leader", kind)
        assert "no replica has led yet" in leader["text"]
        assert message is None or message in reason["text"]
        assert (reason["remedy"] is None) if cure is None else (cure in reason["remedy"])
    assert [item["kind"] for item in await _explain(web, "unseen")] == ["no_leader", "unseen"]


async def test_a_schedule_that_cannot_be_used_and_a_question_that_cannot_be_read(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await _stage(emptied_database)
    await add_jobs(emptied_database, "a")
    await emptied_database.execute("UPDATE scheduled_job SET schedule_expr = '\"61 * * * *\"'")
    reasons = await _explain(web, "a", FIRST)
    assert reasons[0]["kind"] == "invalid"
    assert "its schedule cannot be used" in reasons[0]["text"]
    for query, status in (("at=yesterday", 422), ("at=2026-01-08T00:00:00", 422), ("when=now", 422)):
        answer = await web.get(f"/api/v1/jobs/a/explain?{query}")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert (await web.get("/api/v1/jobs/none/explain")).status_code == 404


def test_each_kind_is_in_one_of_these_tables() -> None:
    held = {"no_leader", "paused", "unseen", "invalid", "unregistered", "waits_for_config", "completed"}
    at = {"not_due", "coming", "no_run", "noted"}
    assert {kind for _, _, kind in _RUNS} | held | at == set(ReasonKind)
