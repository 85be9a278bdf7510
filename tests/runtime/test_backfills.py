"""Backfills by real replicas: every window of the range, whatever happens, and live runs none the wiser."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from tests.cli.piko import piko
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, runs, schedule, until_runs

APP = """
import asyncio, os
from pathlib import Path
from piko import PikoApp

app = PikoApp(name="trial")
HOLD = Path("hold")

def is_held(start):
    return HOLD.exists() or (start.hour >= 1 and Path("hold from the second hour").exists())

@app.job(job_id="windows", stateful=True, max_attempts=2)
async def windows(ctx, scheduled_time):
    start = ctx["data_interval"].start
    if ctx.trigger_type != "backfill":
        return
    print("begins", start.isoformat(), ctx["attempt"], flush=True)
    if is_held(start):
        print("is held", start.isoformat(), flush=True)
    while is_held(start):
        await asyncio.sleep(0.02)
    if Path("fail").exists() and start.minute == 3:
        raise ValueError("minute three")

@app.job(job_id="quick")
async def quick(ctx, scheduled_time):
    pass
"""
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
EVERY_MINUTE = '{"cron": "* * * * *"}'


@pytest.fixture
async def waiting_job(replicas: Replicas, migrated_mariadb: TestDatabase) -> Replica:
    """A replica, ready, with a stateful job whose windows are minutes.

    It is disabled: a minute that ends in the middle of a test would add a live run to what is counted.
    """
    replicas.write(APP)
    await schedule(
        migrated_mariadb, "windows", EVERY_MINUTE, schedule_type="cron", enabled=0, retry_backoff_s=0.2
    )
    replica = replicas.start(migrated_mariadb.dsn)
    await replica.until_ready()
    return replica


async def test_every_window_runs_once_and_the_watermark_and_the_live_runs_are_not_touched(
    replicas: Replicas, migrated_mariadb: TestDatabase, waiting_job: Replica
) -> None:
    database = migrated_mariadb
    until = (YESTERDAY + timedelta(minutes=30)).isoformat()
    await database.execute(f"UPDATE scheduled_job SET last_data_time = '{_sql(YESTERDAY)}'")
    backfill = await _start(replicas, database, until, "--parallel", "4")
    row = await _ended(database, backfill)
    assert row == ("SUCCEEDED", 30, 30, 0)
    done = await database.execute(
        "SELECT window_start, window_end, state, trigger_type, attempt FROM job_run "
        f"WHERE backfill_id = '{backfill}' ORDER BY window_start"
    )
    edges = [YESTERDAY.replace(tzinfo=None) + timedelta(minutes=number) for number in range(31)]
    assert [(start, end) for start, end, *_ in done] == list(pairwise(edges))
    assert {tuple(rest) for _, _, *rest in done} == {("SUCCESS", "backfill", 1)}
    assert await database.execute("SELECT count(*) FROM job_lock") == [(0,)]
    (watermark, state) = (
        await database.execute(
            "SELECT last_data_time, last_run_id FROM scheduled_job JOIN job_state USING (job_id)"
        )
    )[0]
    assert (watermark, state) == (YESTERDAY.replace(tzinfo=None), None)
    # Live windows of the same range have their own locks, and run.
    again = _sql(YESTERDAY + timedelta(minutes=1))
    await database.execute(f"UPDATE scheduled_job SET enabled = 1, last_data_time = '{again}'")
    await until_runs(database, "windows", 30 + 3)


async def test_a_leader_that_is_killed_costs_no_window(
    replicas: Replicas, migrated_mariadb: TestDatabase, waiting_job: Replica
) -> None:
    database = migrated_mariadb
    hold = replicas.folder / "hold"
    hold.touch()
    until = (YESTERDAY + timedelta(minutes=12)).isoformat()
    backfill = await _start(replicas, database, until, "--parallel", "3")
    third = YESTERDAY + timedelta(minutes=2)
    waiting_job.process.wait_for_line(re.escape(f"begins {third.isoformat()} 1"))
    waiting_job.process.kill()
    hold.unlink()
    replicas.start(database.dsn, name="successor")
    assert await _ended(database, backfill) == ("SUCCEEDED", 12, 12, 0)
    lost = [row for row in await runs(database, "windows") if row[1] == "LOST"]
    again = [row for row in await runs(database, "windows") if row[2] == 2]
    assert {row[0] for row in lost} == {row[0] for row in again}
    assert len(lost) == 3


async def test_it_can_be_paused_resumed_and_cancelled(
    replicas: Replicas, migrated_mariadb: TestDatabase, waiting_job: Replica
) -> None:
    database, folder = migrated_mariadb, replicas.folder
    hold = folder / "hold"
    hold.touch()
    until = (YESTERDAY + timedelta(hours=10)).isoformat()
    backfill = await _start(replicas, database, until)
    waiting_job.process.wait_for_line("begins")
    assert "is PAUSED" in piko("backfill", "pause", backfill[:20], cwd=folder, dsn=database.dsn).out
    hold.unlink()
    await until_runs(database, "windows", 1)
    await _until_nothing_runs(database, backfill)
    before = await runs(database, "windows", "SUCCESS")
    await _polls(database)
    assert await runs(database, "windows", "SUCCESS") == before
    again = piko("backfill", "pause", backfill, cwd=folder, dsn=database.dsn)
    assert (again.code, "is PAUSED; only a backfill that is ACTIVE" in again.err) == (2, True)
    (folder / "hold from the second hour").touch()  # one that does not end before it is cancelled
    piko("backfill", "resume", backfill, cwd=folder, dsn=database.dsn)
    await until_runs(database, "windows", len(before) + 5)
    second_hour = YESTERDAY + timedelta(hours=1)
    waiting_job.process.wait_for_line(re.escape(f"is held {second_hour.isoformat()}"))
    piko("backfill", "cancel", backfill, cwd=folder, dsn=database.dsn)
    await until_runs(database, "windows", 1, state="CANCELLED")
    await _until_nothing_runs(database, backfill)
    assert (await _row(database, backfill))[0] == "CANCELLED"


async def test_a_window_that_a_statement_cancels_is_counted_and_the_backfill_ends(
    replicas: Replicas, migrated_mariadb: TestDatabase, waiting_job: Replica
) -> None:
    database, hold = migrated_mariadb, replicas.folder / "hold"
    hold.touch()
    backfill = await _start(replicas, database, (YESTERDAY + timedelta(minutes=3)).isoformat())
    waiting_job.process.wait_for_line("is held")
    await database.execute("UPDATE job_run SET state = 'CANCELLED' WHERE state = 'RUNNING'")
    waiting_job.process.wait_for_line("run_cancelled_by_row")
    hold.unlink()
    assert await _ended(database, backfill) == ("FAILED", 3, 2, 1)
    (row,) = await database.execute("SELECT error FROM job_run WHERE state = 'CANCELLED'")
    assert row[0] == "a statement set its row to CANCELLED"
    assert await database.execute("SELECT who, via FROM change_log WHERE what = 'cancel'") == [
        ("unknown", "sql")
    ]


async def test_a_failing_window_is_tried_again_and_then_counted_and_the_others_run(
    replicas: Replicas, migrated_mariadb: TestDatabase, waiting_job: Replica
) -> None:
    database, folder = migrated_mariadb, replicas.folder
    (folder / "fail").touch()
    backfill = await _start(replicas, database, (YESTERDAY + timedelta(minutes=6)).isoformat())
    assert await _ended(database, backfill) == ("FAILED", 6, 5, 1)
    failed = await runs(database, "windows", "FAILED")
    assert [row[2] for row in failed] == [1, 2]
    status = piko("backfill", "status", backfill, cwd=folder, dsn=database.dsn)
    assert status.code == 1
    assert f"piko runs --backfill {backfill} --state failed" in status.out


async def test_live_runs_are_not_delayed(replicas: Replicas, migrated_mariadb: TestDatabase) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    (replicas.folder / "hold").touch()
    await schedule(database, "windows", EVERY_MINUTE, schedule_type="cron")
    await schedule(database, "quick", '{"every": "500ms"}', coalesce=0)
    replica = replicas.start(database.dsn, environment={"PIKO_MAX_CONCURRENT_RUNS": "4"})
    await replica.until_ready()
    until = (YESTERDAY + timedelta(hours=20)).isoformat()
    backfill = await _start(replicas, database, until, "--parallel", "8")
    await _until_running(database, backfill)
    began = (await database.execute("SELECT UTC_TIMESTAMP(6)"))[0][0]

    async def live_runs() -> bool:
        done = await runs(database, "quick", "SUCCESS")
        return len([row for row in done if row[0] > began]) >= 6

    # One that waited for a window would wait for ever: those are held until the test ends.
    await wait_until_async(live_runs, what="live runs that came due beside the windows")
    busy = await database.execute(
        f"SELECT count(*) FROM job_run WHERE backfill_id = '{backfill}' AND state = 'RUNNING'"
    )
    assert 1 <= busy[0][0] <= 3, "of four places one is left free"
    status = json.loads(piko("backfill", "status", "-o", "json", cwd=replicas.folder, dsn=database.dsn).out)
    assert (status[0]["windows_total"], status[0]["message"]) == (1200, None)


async def test_a_concurrency_group_holds_for_live_runs_and_windows_together(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database, hold = migrated_mariadb, replicas.folder / "hold"
    replicas.write(APP)
    hold.touch()
    group = {"concurrency_group": "warehouse", "concurrency_limit": 3}
    await schedule(database, "windows", EVERY_MINUTE, schedule_type="cron", **group)
    await schedule(database, "quick", '{"every": "300ms"}', **group)
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    until = (YESTERDAY + timedelta(minutes=40)).isoformat()
    backfill = await _start(replicas, database, until, "--parallel", "8")
    await _until_running(database, backfill, 2)
    before = len(await runs(database, "quick", "SUCCESS"))
    await until_runs(database, "quick", before + 5)
    assert await _running(database, backfill) == 2, "of three places one is kept for live runs"
    hold.unlink()
    assert await _ended(database, backfill) == ("SUCCEEDED", 40, 40, 0)
    spans = await database.execute("SELECT started_at, finished_at FROM job_run WHERE state = 'SUCCESS'")
    together = max(sum(start <= moment < end for start, end in spans) for moment, _ in spans)
    assert together <= 3


async def _start(replicas: Replicas, database: TestDatabase, until: str, *options: str) -> str:
    arguments = (
        "backfill",
        "windows",
        "--from",
        YESTERDAY.isoformat(),
        "--to",
        until,
        *options,
        "-o",
        "json",
    )
    answer = piko(*arguments, cwd=replicas.folder, dsn=database.dsn)
    assert answer.code == 0, answer.err
    return str(json.loads(answer.out)["backfill_id"])


async def _row(database: TestDatabase, backfill: str) -> tuple[Any, ...]:
    columns = "state, windows_total, windows_succeeded, windows_failed"
    return tuple(
        (await database.execute(f"SELECT {columns} FROM backfill WHERE backfill_id = '{backfill}'"))[0]
    )


async def _ended(database: TestDatabase, backfill: str) -> tuple[Any, ...]:
    async def over() -> tuple[Any, ...] | None:
        row = await _row(database, backfill)
        return row if row[0] not in ("ACTIVE", "PAUSED") else None

    return await wait_until_async(over, what="the end of the backfill")


async def _running(database: TestDatabase, backfill: str) -> int:
    rows = await database.execute(
        f"SELECT count(*) FROM job_run WHERE backfill_id = '{backfill}' AND state IN ('RUNNING', 'QUEUED')"
    )
    return int(rows[0][0])


async def _until_running(database: TestDatabase, backfill: str, count: int = 1) -> None:
    async def some() -> bool:
        return await _running(database, backfill) >= count

    await wait_until_async(some, what=f"{count} running windows")


async def _until_nothing_runs(database: TestDatabase, backfill: str) -> None:
    async def none() -> bool:
        return await _running(database, backfill) == 0

    await wait_until_async(none, what="the last window's end")


async def _polls(database: TestDatabase) -> None:
    """Let the leader look at its queue: it starts a run that is queued now."""
    await database.execute(
        "INSERT INTO scheduled_job(job_id, schedule_type, schedule_expr) "
        "VALUES ('quick', 'interval', '{\"seconds\": 1}')"
    )
    await until_runs(database, "quick", 1)


def _sql(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
