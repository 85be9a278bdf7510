"""Backlogs of windows on a real server: all of it runs, or what a bound drops is told in every place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from tests.cli.piko import piko_here
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, schedule, until_runs

APP = """
from piko import PikoApp

app = PikoApp(name="trial")

async def cover(ctx, scheduled_time):
    pass

for job_id in ("late", "old", "bounded", "ancient"):
    app.job(job_id=job_id, stateful=True)(cover)
"""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
HALF = '{"seconds": 0.5}'


async def test_a_backlog_runs_whole_and_what_a_bound_drops_is_told(
    replicas: Replicas, migrated_mariadb: TestDatabase, tmp_path: Path
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    ((now,),) = await database.execute("SELECT UTC_TIMESTAMP()")
    late = now - timedelta(seconds=75)
    await schedule(database, "late", HALF, last_data_time=str(late))
    await schedule(database, "old", HALF, last_data_time="1970-01-01")
    await schedule(database, "bounded", HALF, last_data_time="1970-01-01", backfill_max_windows=10)
    await schedule(database, "ancient", HALF, last_data_time="1000-01-01", max_lookback_s=5)
    replica = replicas.start(database.dsn)
    await replica.until_ready()

    await until_runs(database, "late", 150, within=60)
    for job_id, since in (("late", late), ("old", EPOCH)):
        assert await windows_that_ran(database, job_id, since) >= 20
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
    told = await until_told(database, "bounded")
    assert "was given up by max_lookback_s or backfill_max_windows" in told
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


async def until_told(database: TestDatabase, job_id: str) -> str:
    async def message() -> str | None:
        rows = await database.execute(f"SELECT message FROM job_state WHERE job_id = '{job_id}'")
        return rows[0][0] if rows and rows[0][0] else None

    return await wait_until_async(message, timeout=20, what=f"a message about {job_id}")
