"""A database that is slow to answer: several due times of a job are claimed ahead, and a crash loses none."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from piko.core.types import FINAL_STATES
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, schedule, until_runs
from tests.store.cutting import cuttable

SLOW_S = 0.25
"""More on each statement: a claim takes longer than from one due time to the next."""


async def upcoming(database: TestDatabase) -> list[tuple[str, datetime]]:
    """Runs that were claimed ahead and that no start mark covers, each with its start."""
    rows = await database.execute(
        "SELECT run_id, starts_at FROM job_run JOIN runtime_instance USING (instance_id) "
        "WHERE state = 'RUNNING' AND starts_at > COALESCE(starts_until, '2000-01-01') ORDER BY starts_at"
    )
    return [(run_id, starts_at) for run_id, starts_at in rows]


async def start_mark(database: TestDatabase, replica: Replica) -> datetime:
    ((mark,),) = await database.execute(
        f"SELECT COALESCE(starts_until, '2000-01-01') FROM runtime_instance WHERE pid = {replica.process.pid}"
    )
    return datetime.fromisoformat(str(mark))


async def until_ended(database: TestDatabase, run_ids: list[str]) -> list[tuple[Any, ...]]:
    """State and attempt of these runs, in the order of their due times, once all have ended."""
    names = ", ".join(f"'{run_id}'" for run_id in run_ids)

    async def ended() -> list[tuple[Any, ...]] | None:
        rows = await database.execute(
            f"SELECT state, attempt FROM job_run WHERE run_id IN ({names}) ORDER BY scheduled_time"
        )
        return rows if all(state in FINAL_STATES for state, _ in rows) else None

    return await wait_until_async(ended, what="what was claimed ahead to end")


async def test_what_a_killed_leader_had_claimed_several_ahead_is_neither_lost_nor_tried_again(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    async with cuttable(migrated_mariadb) as (way, beyond):
        leader = replicas.start(beyond.dsn, name="leader")
        await leader.until_ready()
        way.delay_s = SLOW_S
        await schedule(migrated_mariadb, "quick", max_attempts=3)

        async def several() -> list[tuple[str, datetime]] | None:
            found = await upcoming(migrated_mariadb)
            return found if len(found) > 2 else None

        await wait_until_async(several, what="several due times to be claimed ahead")
        leader.process.kill()
        claimed = await upcoming(migrated_mariadb)
    following = replicas.start(migrated_mariadb.dsn, name="next")
    await following.until_ready()
    # A mark that was on its way may have arrived; from now on it is refused.
    mark = await start_mark(migrated_mariadb, leader)
    unbegun = [run_id for run_id, starts_at in claimed if starts_at > mark]
    assert unbegun, "the leader was killed while due times were claimed ahead"
    ends = await until_ended(migrated_mariadb, unbegun)
    assert {attempt for _, attempt in ends} == {1}
    assert {state for state, _ in ends} <= {"SUCCESS", "SKIPPED"}, (
        "coalesced where the next one has come, too"
    )
    await until_runs(migrated_mariadb, "quick", 2)
    locked = await migrated_mariadb.execute(
        "SELECT COUNT(*), COUNT(DISTINCT scheduled_time) FROM job_run WHERE state = 'SUCCESS'"
    )
    assert locked[0][0] == locked[0][1]


async def test_on_a_database_slower_than_the_interval_handlers_start_at_their_instants(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    """A claim takes longer than a second; each of five due times in a row starts before the one after it."""
    async with cuttable(migrated_mariadb) as (way, beyond):
        leader = replicas.start(beyond.dsn, name="leader")
        await leader.until_ready()
        way.delay_s = SLOW_S
        await schedule(migrated_mariadb, "quick")

        async def five_in_a_row() -> bool:
            rows = await migrated_mariadb.execute(
                "SELECT scheduled_time, started_at FROM job_run WHERE state = 'SUCCESS' "
                "AND starts_at IS NOT NULL ORDER BY scheduled_time DESC LIMIT 5"
            )
            second = timedelta(seconds=1)
            return (
                len(rows) == 5
                and rows[0][0] - rows[-1][0] == 4 * second
                and all(started_at < due + second for due, started_at in rows)
            )

        await wait_until_async(five_in_a_row, what="five due times in a row to start in time")
        way.delay_s = 0.0
        leader.process.terminate()
