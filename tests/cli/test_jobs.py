"""Jobs, runs, configs and backfills from the command line, beside one replica."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import BaseModel

from piko import PikoApp
from piko.settings import load_settings
from piko.store.schema.migrate import upgrade
from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, Answer, piko_here
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async

PATIENCE = f"{PATIENCE_S:g}"
HOUR = 3 if 6 <= datetime.now(UTC).hour < 18 else 15
"""Of the jobs' schedule: hours from now, so that none comes due while tests count its runs."""


class Limits(BaseModel):
    rows: int = 10


REFUSALS = [
    (("trigger", "windows"), "a stateful job runs windows of data"),
    (("trigger", "strange"), "no replica has registered it"),
    (("trigger", "plane"), "no job 'plane' in scheduled_job; did you mean `plain`?"),
    (("pause", "plane"), "did you mean `plain`?"),
    (("jobs", "plane"), "did you mean `plain`?"),
    (("next", "plane"), "did you mean `plain`?"),
    (("backfill", "plain", "--from", "2026-01-01", "--to", "2026-01-02"), "it is stateless"),
    (("backfill", "plane", "--from", "2026-01-01", "--to", "2026-01-02"), "did you mean `plain`?"),
    (("backfill", "strange", "--from", "2026-01-01", "--to", "2026-01-02"), "no replica has registered"),
    (("backfill", "windows", "--from", "2026-01-02", "--to", "2026-01-01"), "must lie before the end"),
    (("backfill", "windows", "--from", "2026-01-01", "--to", "2999-01-01"), "lies in the future"),
    (("backfill", "windows", "--from", "2026-01-01", "--to", "2026-01-01T01:00"), "no whole window"),
    (("backfill", "windows", "--from", "yesterday", "--to", "2026-01-01"), "--from = 'yesterday'"),
    (("backfill", "status", "nope"), "no backfill 'nope'"),
    (("config", "rollback", "plain", "--to", "7"), "its config has no revision 7"),
    (("config", "rollback", "plane", "--to", "7"), "did you mean `plain`?"),
    (("config", "history", "plane"), "did you mean `plain`?"),
    (("runs", "--job", "plane"), "did you mean `plain`?"),
    (("backfill", "status", "--job", "plane"), "did you mean `plain`?"),
    (("trigger", "nothing-like-it"), "; known jobs: flaky, plain, strange, windows"),
    (("runs", "--state", "faild"), "--state = 'faild': is not a state; did you mean `failed`?"),
    (("runs", "--since", "2 fortnights"), "expected how long ago, such as 30m, 2h or 7d, or an instant"),
    (("runs", "--since", "999999999d"), "is before the year 1"),
    (("forget", "windows"), "it still has a row in scheduled_job"),
    (("forget", "plane"), "no progress is kept for it; deleted jobs with progress: none"),
]


class Desk:
    """A database that a replica in this process works on, and the command line."""

    def __init__(self, database: TestDatabase, folder: Path) -> None:
        self.database, self.folder = database, folder

    async def __call__(self, *arguments: str) -> Answer:
        return await asyncio.to_thread(piko_here, *arguments, cwd=self.folder, dsn=self.database.dsn)

    async def json(self, *arguments: str) -> Any:
        answer = await self(*arguments, "-o", "json")
        assert answer.code == OK, answer.err
        return json.loads(answer.out)


@pytest.fixture
async def desk(sqlite: TestDatabase, tmp_path: Path) -> AsyncIterator[Desk]:
    await upgrade(sqlite.dsn)
    app = PikoApp(name="trial")

    @app.job(job_id="plain", schema=Limits)
    async def plain(ctx: Any, scheduled_time: datetime) -> None:
        if ctx.config.rows < 0:
            raise ValueError("rows must not be negative")

    @app.job(job_id="windows", stateful=True)
    async def windows(ctx: Any, scheduled_time: datetime) -> None:
        pass

    @app.job(job_id="flaky")
    async def flaky(ctx: Any, scheduled_time: datetime) -> None:
        if ctx.attempt < 3:
            raise ValueError(f"not yet: {ctx.attempt}")

    for job_id in ("flaky", "plain", "windows", "strange"):
        await sqlite.execute(
            "INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr) "
            f"VALUES ('{job_id}', 'cron', '{{\"hour\": {HOUR}}}')"
        )
    settings = load_settings(
        environment={}, directory=tmp_path, mysql_dsn=sqlite.dsn, poll_interval_s=0.1, heartbeat_interval_s=1
    )
    # Logs go where they do not meet the answers, which are caught from this process's own output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sys.stderr))
    async with app.running(settings):
        desk = Desk(sqlite, tmp_path)

        async def seen() -> bool:
            rows = await sqlite.execute("SELECT status FROM job_state ORDER BY job_id")
            return [status for (status,) in rows] == ["Scheduled", "Scheduled", "Unregistered", "Scheduled"]

        await wait_until_async(seen, what="the leader's account of four jobs")
        yield desk


async def test_jobs_and_runs_are_listed_and_triggered(desk: Desk) -> None:
    found = {item["job_id"]: item for item in await desk.json("jobs")}
    assert {key: item["status"] for key, item in found.items()} == {
        "plain": "Scheduled",
        "windows": "Scheduled",
        "flaky": "Scheduled",
        "strange": "Unregistered",
    }
    assert found["plain"]["next_run_at"].endswith(f"T{HOUR:02}:00:00Z")
    listed = await desk("jobs")
    assert "strange  Unregistered" in listed.out
    assert "  no replica has registered the job" in listed.out

    run = await desk.json("trigger", "plain", "--wait", PATIENCE)
    assert (run["state"], run["error"]) == ("SUCCESS", None)
    (line,) = await desk.json("runs", "--job", "plain")
    assert (line["run_id"], line["trigger_type"], line["state"]) == (run["run_id"], "manual", "SUCCESS")
    assert await desk.json("runs", "--state", "FAILED") == []
    assert "no runs match" in (await desk("runs", "--state", "LOST")).out


async def test_a_job_is_paused_and_resumed_and_runs_by_hand_all_the_same(desk: Desk) -> None:
    assert (await desk("pause", "plain")).out == "plain: paused\n"
    assert (await desk("pause", "plain")).out == "plain: is already paused\n"

    async def disabled() -> bool:
        return bool(await desk.database.execute("SELECT 1 FROM job_state WHERE status = 'Disabled'"))

    await wait_until_async(disabled, what="the leader to see it")
    assert (await desk.json("trigger", "plain", "--wait", PATIENCE))["state"] == "SUCCESS"
    resumed = await desk.json("resume", "plain")
    assert (resumed["enabled"], resumed["changed"]) == (True, True)


async def test_a_schedule_that_is_paused_for_a_while_is_resumed_by_the_leader(desk: Desk) -> None:
    shown = await desk("pause", "plain", "--until", "2h", "--dry-run")
    assert "would be paused until" in shown.out
    for length in ("5s", "20s", "80s"):  # on a busy machine so much may have passed before it is written
        paused = await desk("pause", "plain", "--until", length, "--reason", "deploy")
        if "has passed" not in paused.err:
            break
    assert paused.code == OK, paused.err

    async def resumed() -> bool:
        (job,) = await desk.json("jobs", "plain")
        return bool(job["enabled"] and job["status"] == "Scheduled")

    await wait_until_async(resumed, what="the leader to resume it")
    rows = await desk.database.execute(
        "SELECT what, via, reason FROM change_log WHERE via <> 'sql' ORDER BY change_id"
    )
    assert [tuple(row) for row in rows] == [
        ("pause", "cli", "deploy"),
        ("resume", "leader", "paused_until has come"),
    ]


async def test_many_are_paused_by_a_filter(desk: Desk) -> None:
    assert (await desk("pause", "--text", "la", "--dry-run")).out.startswith("2 jobs would be paused")
    assert (await desk("pause", "--text", "la")).out == "2 jobs paused, 0 already so, 0 refused\n"
    assert (await desk("resume", "--text", "la", "--text", "plain")).out.startswith("1 job resumed")
    assert "did you mean" in (await desk("pause", "--state", "Schedulde")).err
    assert "give either a job or filters" in (await desk("pause")).err


async def test_a_run_and_a_window_are_triggered_with_other_values(desk: Desk) -> None:
    run = await desk("trigger", "plain", "--config", '{"rows": -1}', "--wait", PATIENCE)
    assert (run.code, "rows must not be negative" in run.out) == (NEEDS_ACTION, True)
    assert "no such key" in (await desk("trigger", "plain", "--config", '{"row": 1}')).err
    assert "--config is not JSON" in (await desk("trigger", "plain", "--config", "rows=1")).err
    begin = f"2026-01-08T{HOUR:02}:00"
    shown = await desk("trigger", "windows", "--window", begin, "--dry-run")
    assert f"window 2026-01-08 {HOUR:02}:00:00Z - 2026-01-09 {HOUR:02}:00:00Z (--dry-run)" in shown.out
    window = await desk.json("trigger", "windows", "--window", begin, "--wait", PATIENCE)
    assert window["state"] == "SUCCESS"


async def test_a_revision_whose_secret_was_removed_says_so(desk: Desk) -> None:
    execute = desk.database.execute
    await execute(
        "INSERT INTO job_config_revision (job_id, revision, content_hash, schema_version, config_json, "
        "row_version, secret_blanked_at) "
        "VALUES ('plain', 1, 'x', 1, '{\"rows\": 3}', 1, '2026-01-08 10:00:00')"
    )
    await execute(
        "INSERT INTO job_config (job_id, config_json, secret_json) "
        "VALUES ('plain', '{\"rows\": 5}', '{\"token\": \"s3cret\"}')"
    )
    assert "+ secret (removed)" in (await desk("config", "history", "plain")).out
    refused = await desk("config", "rollback", "plain", "--to", "1")
    assert refused.code == CANNOT
    assert "held a secret part, which was removed at 2026-01-08 10:00:00Z" in refused.err
    trial = await desk("config", "rollback", "plain", "--to", "1", "--keep-secret", "--dry-run")
    assert (trial.code, "would be rolled back" in trial.out) == (OK, True)
    assert (await execute("SELECT config_json FROM job_config"))[0][0] == '{"rows": 5}'
    done = await desk("config", "rollback", "plain", "--to", "1", "--keep-secret")
    assert done.code == OK
    (row,) = await execute("SELECT config_json, secret_json FROM job_config")
    assert row == ('{"rows": 3}', '{"token": "s3cret"}')
    assert "s3cret" not in done.out + refused.err


async def test_what_a_deleted_job_has_done_is_forgotten_on_request(desk: Desk) -> None:
    await desk.database.execute(f"UPDATE scheduled_job SET last_data_time = '2999-01-02 {HOUR:02}:00:00'")

    async def both(condition: str) -> bool:
        of_both = f"SELECT 1 FROM job_state WHERE job_id IN ('windows', 'plain') AND {condition}"
        return len(await desk.database.execute(of_both)) == 2

    copied = "data_through IS NOT NULL AND (job_id = 'plain' OR cursor_at > '2900-01-01')"
    await wait_until_async(lambda: both(copied), what="the leader to see the watermarks")
    await desk.database.execute("DELETE FROM scheduled_job WHERE job_id IN ('windows', 'plain')")
    await wait_until_async(lambda: both("row_gone_at IS NOT NULL"), what="the leader to see that they went")
    assert "deleted jobs with progress: plain, windows" in (await desk("forget", "plane")).err
    answer = await desk("forget", "windows")
    assert answer.out.startswith(
        f"windows: progress deleted (data up to 2999-01-02 {HOUR:02}:00:00Z, due times up to 29"
    )
    assert (await desk.json("forget", "plain"))["data_through"] == f"2999-01-02T{HOUR:02}:00:00Z"
    assert await desk.database.execute("SELECT job_id FROM job_state") == [("flaky",), ("strange",)]


async def test_a_row_of_a_resource_is_left_to_kubectl(desk: Desk) -> None:
    await desk.database.execute("UPDATE scheduled_job SET managed_by = 'prod/data/nightly/uid-1'")
    answer = await desk("pause", "plain")
    assert answer.code == CANNOT
    assert (
        'kubectl patch pikoschedule nightly -n data --type merge -p \'{"spec": {"suspend": true}}\''
        in answer.err
    )
    assert (await desk.database.execute("SELECT DISTINCT enabled FROM scheduled_job"))[0][0] == 1


async def test_what_cannot_be_done_is_explained(desk: Desk) -> None:
    for arguments, said in REFUSALS:
        answer = await desk(*arguments)
        assert (answer.code, answer.out) == (CANNOT, ""), arguments
        assert said in answer.err


async def test_next_of_a_job_in_the_database(desk: Desk) -> None:
    answer = await desk("next", "plain", "-n", "1", "--after", "2026-01-01")
    due = f"{HOUR:02}:00:00"
    assert answer.out == f"plain:\nAt {due[:5]}, UTC.\n  Thu 2026-01-01 {due}+00:00  2026-01-01 {due}Z\n"


async def test_a_dry_run_shows_the_windows_and_starts_nothing(desk: Desk) -> None:
    arguments = ("backfill", "windows", "--from", "2026-01-01", "--to", "2026-01-04T20:00", "--dry-run")
    answer = await desk(*arguments)
    first, second, third, last = (f"2026-01-0{day} {HOUR:02}:00:00Z" for day in (1, 2, 3, 4))
    assert answer.out.splitlines() == [
        f"{first} - {second}",
        f"{second} - {third}",
        f"{third} - {last}",
        f"skipped, not a whole window: 2026-01-01 00:00:00Z - {first}",
        f"skipped, not a whole window: {last} - 2026-01-04 20:00:00Z",
        f"windows: 3 windows from {first} to {last}; nothing was started (--dry-run)",
    ]
    assert await desk.json("backfill", "status") == []
    found = await desk.json(*arguments)
    assert (found["backfill_id"], found["windows_total"], len(found["windows"])) == (None, 3, 3)


async def test_a_backfill_is_asked_for_and_seen_to_its_end(desk: Desk) -> None:
    begin, end = (f"2026-01-{day}T{HOUR:02}:00" for day in ("01", "11"))
    asked = await desk.json("backfill", "windows", "--from", begin, "--to", end)

    async def done() -> Any:
        (found,) = await desk.json("backfill", "status", asked["backfill_id"][:20])
        return found if found["state"] == "SUCCEEDED" else None

    found = await wait_until_async(done, what="the end of the backfill")
    assert (found["windows_succeeded"], found["windows_failed"]) == (10, 0)
    lines = await desk.json("runs", "--backfill", asked["backfill_id"], "-n", "100")
    assert len(lines) == 10
    assert "SUCCEEDED" in (await desk("backfill", "status")).out


async def test_a_config_is_rolled_back_and_in_force_at_once(desk: Desk) -> None:
    async def configure(rows: object) -> None:
        await desk.database.execute(
            f"""INSERT INTO job_config(job_id, config_json, secret_json)
            VALUES ('plain', '{{"rows": {rows}}}', '{{"token": "hush"}}')
            ON CONFLICT (job_id) DO UPDATE SET config_json = excluded.config_json"""
        )

    async def revision(number: int) -> None:
        async def there() -> bool:
            rows = await desk.database.execute("SELECT max(revision) FROM job_config_revision")
            return bool(rows[0][0] == number)

        await wait_until_async(there, what=f"revision {number}")

    for number, rows in enumerate((1, -5, '"many"'), start=1):
        await configure(rows)
        await revision(number)
    failed = await desk("trigger", "plain", "--wait", PATIENCE)
    assert (failed.code, "rows must not be negative" in failed.out) == (NEEDS_ACTION, True)

    history = await desk("config", "history", "plain")
    assert "hush" not in history.out
    assert [item["revision"] for item in await desk.json("config", "history", "plain")] == [3, 2, 1]
    never = await desk("config", "rollback", "plain", "--to", "3")
    assert (never.code, "revision 3 never took effect" in never.err) == (CANNOT, True)

    await desk.json("config", "rollback", "plain", "--to", "1")
    await revision(4)
    run = await desk.json("trigger", "plain", "--wait", PATIENCE)
    assert run["state"] == "SUCCESS"
    (line,) = await desk.json("runs", "--job", "plain", "--state", "SUCCESS")
    assert line["config_revision"] == 4
    assert "hush" in (await desk.database.execute("SELECT secret_json FROM job_config"))[0][0]


async def test_validate_asks_what_the_replicas_have_published(desk: Desk) -> None:
    resource = """
apiVersion: piko.dev/v1
kind: PikoJobConfig
metadata: {name: plain}
spec: {jobId: plain, config: {rows: many}}
"""
    (desk.folder / "config.yaml").write_text(resource)
    answer = await desk("validate", "-f", "config.yaml", "--dsn", desk.database.dsn)
    assert answer.code == NEEDS_ACTION
    assert "spec.config.rows: 'many' is not of type 'integer'" in answer.out


async def test_runs_are_listed_from_an_instant_on(desk: Desk) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await desk.json("trigger", "plain", "--wait", PATIENCE)
    assert await desk.json("runs", "--since", soon) == []


async def _retries(desk: Desk, most: int, *, backoff_s: float = 0.5) -> None:
    await desk.database.execute(
        f"UPDATE scheduled_job SET max_attempts = {most}, retry_backoff_s = {backoff_s}, "
        "retry_max_backoff_s = 3600, version = version + 1"
        " WHERE job_id = 'flaky'"
    )

    async def seen() -> bool:
        query = "SELECT 1 FROM job_state s JOIN scheduled_job j ON j.job_id = s.job_id "
        query += "AND s.observed_version = j.version WHERE j.job_id = 'flaky'"
        return bool(await desk.database.execute(query))

    await wait_until_async(seen, what="the leader to see the edit")


async def test_a_trigger_waits_for_the_last_attempt_and_prints_each_before_it(desk: Desk) -> None:
    await _retries(desk, 3)
    answer = await desk("trigger", "flaky", "--wait", PATIENCE)
    first, second, last = answer.out.splitlines()
    assert answer.code == OK
    assert first.startswith("flaky: attempt 1 is FAILED: ValueError: not yet: 1; attempt 2 starts ")
    assert second.startswith("flaky: attempt 2 is FAILED: ValueError: not yet: 2; attempt 3 starts ")
    assert re.fullmatch(r"flaky: run \S+, attempt 3, is SUCCESS", last)
    found = await desk.json("trigger", "flaky", "--wait", PATIENCE)
    assert (found["attempt"], found["state"], found["error"]) == (3, "SUCCESS", None)


async def test_a_trigger_ends_with_1_once_no_attempt_is_left_or_patience_is(desk: Desk) -> None:
    await _retries(desk, 2)
    answer = await desk("trigger", "flaky", "--wait", PATIENCE)
    assert answer.code == NEEDS_ACTION
    assert re.search(r"flaky: run \S+, attempt 2, is FAILED: ValueError: not yet: 2", answer.out)
    await _retries(desk, 2, backoff_s=3600)
    impatient = await desk("trigger", "flaky", "--wait", "0")
    assert (impatient.code, "after 0 s and continues" in impatient.out) == (NEEDS_ACTION, True)


async def test_jobs_tell_their_last_error_and_how_often_they_failed(desk: Desk) -> None:
    await desk.database.execute(
        "INSERT INTO job_config(job_id, config_json) VALUES ('plain', '{\"rows\": -1}')"
    )

    async def in_force() -> bool:
        return bool(await desk.database.execute("SELECT 1 FROM job_config_revision"))

    await wait_until_async(in_force, what="the config")
    await desk("trigger", "plain", "--wait", PATIENCE)
    once = (await desk("jobs", "plain")).out
    assert "  failed: ValueError: rows must not be negative" in once
    assert re.search(rf"^plain +Scheduled +FAILED \d+[sm] ago +in \d+h +hour {HOUR}$", once, re.MULTILINE)
    await desk("trigger", "plain", "--wait", PATIENCE)
    assert "  2 failures in a row: ValueError: rows must not be negative" in (await desk("jobs", "plain")).out
    wide = (await desk("jobs", "plain", "-o", "wide")).out
    assert {"SCHEDULED", "DURATION", "NEXT RUN", "OWNER"} <= set(re.split(r" {2,}", wide.splitlines()[0]))

    assert len(await desk.json("runs", "--since", "2h", "--state", "failed,Lost")) == 2
    assert len(await desk.json("runs", "--state", "failed", "--state", "SUCCESS")) == 2
    assert await desk.json("runs", "--state", "success") == []
    listed = (await desk("runs", "--job", "plain")).out.splitlines()
    assert listed[0].split() == ["JOB", "SCHEDULED", "STATE", "ATTEMPT", "TRIGGER", "DURATION"]
    assert re.fullmatch(r"plain +\d+[sm] ago +FAILED +1 +manual +\S+", listed[1])
    assert listed[2] == "  ValueError: rows must not be negative"
