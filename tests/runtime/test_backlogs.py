"""Backlogs of windows on a real server: all of it runs, or what a bound drops is reported in every place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cli.piko import piko_here
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import LONG_AGO, Replicas, runs, schedule, until_runs
from tests.store.cutting import cuttable

APP = """
import asyncio
from piko import PikoApp

app = PikoApp(name="trial")

async def cover(ctx, scheduled_time):
    pass

for job_id in ("late", "old", "bounded", "ancient"):
    app.job(job_id=job_id, stateful=True)(cover)
app.job(job_id="each")(cover)

@app.job(job_id="half")
async def half(ctx, scheduled_time):
    await asyncio.sleep(0.5)
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
HALF = '{"seconds": 0.5}'


async def test_a_backlog_runs_whole_and_what_a_bound_drops_is_reported(
    replicas: Replicas, migrated_mariadb: TestDatabase, tmp_path: Path
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    ((now,),) = await database.execute("SELECT UTC_TIMESTAMP()")
    late = now - timedelta(seconds=15)
    await schedule(database, "late", HALF, last_data_time=str(late))
    await schedule(database, "old", HALF, last_data_time="1970-01-01")
    # It ends now: a window that came due while a busy machine runs another would push one more beyond the
    # bound, and would be reported as well.
    await schedule(
        database,
        "bounded",
        HALF,
        last_data_time="1970-01-01",
        backfill_max_windows=600,
        end_at=str(now),
        updated_at=LONG_AGO,
    )
    await schedule(database, "ancient", HALF, last_data_time="1000-01-01", max_lookback_s=5)
    replica = replicas.start(database.dsn)
    await replica.until_ready()

    await until_runs(database, "late", 30)
    await until_runs(database, "old", 5)
    for job_id, since in (("late", late), ("old", EPOCH)):
        assert await windows_that_ran(database, job_id, since) >= 5
    await until_runs(database, "bounded", 1)
    await until_runs(database, "ancient", 1)
    columns = "job_id, scheduled_time, missed_through, missed_count, error"
    missed = f"SELECT {columns} FROM job_run WHERE state = 'MISSED'"
    rows = [tuple(row) for row in await database.execute(f"{missed} ORDER BY run_id")]
    assert {row[0] for row in rows} == {"bounded", "ancient"}
    for job_id, first, through, count, error in rows:
        assert count == (through - first) // timedelta(seconds=0.5) + 1
        assert f"piko backfill {job_id} --from " in error
    assert min(row[3] for row in rows if row[1].year == 1970) > 2**31
    await until_reported(database, "bounded", "was given up by max_lookback_s or backfill_max_windows")
    replica.process.wait_for_line("data_given_up")
    answer = piko_here("jobs", "bounded", cwd=tmp_path, dsn=database.dsn)
    assert "piko backfill bounded --from 1970-01-01T00:00:00Z --to " in answer.out


async def windows_that_ran(database: TestDatabase, job_id: str, since: datetime) -> int:
    """How many have, which meet from `since` on and of which none was passed over."""
    rows = await database.execute(
        "SELECT window_start, window_end FROM job_run "
        f"WHERE job_id = '{job_id}' AND state = 'SUCCESS' ORDER BY window_start"
    )
    assert rows[0][0] == since
    assert all(earlier[1] == later[0] for earlier, later in pairwise(rows))
    ((passed_over,),) = await database.execute(
        f"SELECT COUNT(*) FROM job_run WHERE job_id = '{job_id}' AND missed_count IS NOT NULL"
    )
    assert passed_over == 0
    return len(rows)


async def until_reported(database: TestDatabase, job_id: str, text: str) -> None:
    async def found() -> bool:
        rows = await database.execute(f"SELECT message FROM job_state WHERE job_id = '{job_id}'")
        return any(text in (message or "") for (message,) in rows)

    await wait_until_async(found, what=f"a message about {job_id} with {text!r}")


async def test_each_instant_of_a_stop_runs_without_coalescing(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    await schedule(database, "each", '{"seconds": 2}', coalesce=0)
    first = replicas.start(database.dsn, name="first")
    await first.until_ready()
    await until_runs(database, "each", 2)
    assert first.process.terminate() == 0
    left = {row[0] for row in await runs(database, "each", "QUEUED")}
    ((last,),) = await database.execute("SELECT MAX(COALESCE(missed_through, scheduled_time)) FROM job_run")
    ((until,),) = await database.execute("SELECT UTC_TIMESTAMP() + INTERVAL 9 SECOND")
    await wait_until_async(lambda: _is_past(database, until), what="some instants to pass")
    replicas.start(database.dsn, name="second")

    # What comes due later may overlap with a run that a busy machine lets take long, and is passed over then.
    every = timedelta(seconds=2)
    due = left | {last + every * (number + 1) for number in range((until - last) // every)}
    assert len(due) >= 4

    async def ran() -> bool:
        done = {row[0] for row in await runs(database, "each", "SUCCESS")}
        return done >= due

    await wait_until_async(ran, what=f"a run of each instant from {last} to {until}")
    assert [row for row in await runs(database, "each") if row[0] in due and row[1] != "SUCCESS"] == []


async def test_what_comes_due_while_the_backlog_of_an_outage_is_worked_off_runs_as_well(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    """The last run of the backlog is in progress when the next due time has come already."""
    database = migrated_mariadb
    replicas.write(APP)
    every = timedelta(seconds=4)  # a busy machine may let a run take two
    await schedule(database, "half", '{"seconds": 4}', coalesce=0)
    async with cuttable(database) as (way, cut_off):
        replica = replicas.start(cut_off.dsn, environment={"PIKO_LEADER_LEASE_S": "120"})
        await replica.until_ready()
        await until_runs(database, "half", 1)
        way.close()
        ((since, until),) = await database.execute(
            "SELECT UTC_TIMESTAMP(6), UTC_TIMESTAMP(6) + INTERVAL 14 SECOND"
        )
        await wait_until_async(lambda: _is_past(database, until), what="an outage to last")
        way.open()

        async def caught_up() -> bool:
            done = await runs(database, "half", "SUCCESS")
            return bool(done[-1][0] >= until + 2 * every)

        await wait_until_async(caught_up, what="runs of what came due after the outage")
    found = [row for row in await runs(database, "half") if row[0] >= since]
    assert {state for _, state, _ in found} <= {"SUCCESS", "RUNNING"}, found
    assert all(later[0] - earlier[0] == every for earlier, later in pairwise(found)), found


@pytest.mark.parametrize("executor", ["leader", "replicas"])
async def test_what_a_stop_left_in_the_queue_is_judged_by_the_grace_when_it_could_start(
    executor: str, replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    await schedule(database, "each", '{"hours": 1000}', misfire_grace_s=3600)
    offered = "NULL" if executor == "leader" else "UTC_TIMESTAMP(6)"
    for run_id, trigger, age in (
        ("old", "schedule", 4000),
        ("new", "schedule", 5),
        ("again", "retry", 4000),
        ("asked", "manual", 4000),
    ):
        await database.execute(
            "INSERT INTO job_run (run_id, job_id, scheduled_time, state, trigger_type, offered_at) VALUES ("
            f"'{run_id}', 'each', UTC_TIMESTAMP(6) - INTERVAL {age} SECOND, 'QUEUED', '{trigger}', {offered})"
        )
    replica = replicas.start(database.dsn, environment={"PIKO_EXECUTOR": executor})
    await replica.until_ready()

    await until_runs(database, "each", 3)
    await until_runs(database, "each", 1, state="MISSED")
    ends = dict(await database.execute("SELECT run_id, state FROM job_run"))
    assert ends == {"old": "MISSED", "new": "SUCCESS", "again": "SUCCESS", "asked": "SUCCESS"}
    ((why,),) = await database.execute("SELECT error FROM job_run WHERE run_id = 'old'")
    assert "older than misfire_grace_s = 3600" in why


async def _is_past(database: TestDatabase, moment: datetime) -> bool:
    ((now,),) = await database.execute("SELECT UTC_TIMESTAMP()")
    return bool(now >= moment)
