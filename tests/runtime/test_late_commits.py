"""A row whose COMMIT comes late fires nothing from before it, under any leader."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import LONG_AGO, Replicas, runs, schedule, until_runs
from tests.store.sessions import open_session

INSERT = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, coalesce) "
    "VALUES ('quick', 'interval', '{\"seconds\": 1}', 0)"
)
ENABLE = "UPDATE scheduled_job SET enabled = 1 WHERE job_id = 'quick'"


@pytest.mark.parametrize("statement", [INSERT, ENABLE], ids=["insert", "enable"])
@pytest.mark.parametrize("other_leader", [False, True], ids=["same leader", "other leader"])
async def test_a_row_committed_late_fires_nothing_from_before_its_commit(
    statement: str, other_leader: bool, replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    if statement is ENABLE:
        await schedule(database, "quick", enabled=0, coalesce=0)
    leader = replicas.start(database.dsn, name="first")
    await leader.until_ready()
    if other_leader:
        standby = replicas.start(database.dsn, name="second")
        await standby.until_ready("standby")
    async with open_session(database.dsn) as session:
        await session.execute("BEGIN")
        await session.execute(statement)
        wrote = await now_at(database)
        if other_leader:
            leader.process.kill()
            await standby.until_ready("leader")
        await until_rows_are_read(database)
        await until_past(database, wrote + timedelta(seconds=7))
        before_commit = await now_at(database)
        await session.execute("COMMIT")
    await until_runs(database, "quick", 3)
    ((first,),) = await database.execute("SELECT MIN(scheduled_time) FROM job_run WHERE state = 'SUCCESS'")
    assert first >= before_commit.replace(microsecond=0)


async def test_what_came_due_before_any_replica_ran_is_judged_as_every_other_delay(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    run_date = (await now_at(database) - timedelta(seconds=2)).replace(microsecond=0)
    expression = json.dumps({"run_date": f"{run_date.isoformat()}Z"})
    await schedule(database, "quick", expression, schedule_type="date", updated_at=LONG_AGO)
    replicas.start(database.dsn)

    await until_runs(database, "quick", 1)
    assert await runs(database, "quick") == [(run_date, "SUCCESS", 1)]


async def until_rows_are_read(database: TestDatabase) -> None:
    """Wait until the leader has looked at the rows of schedules as they are now."""
    await schedule(database, "slow", '{"hours": 1000}')

    async def planned() -> bool:
        return bool(await database.execute("SELECT 1 FROM job_state WHERE job_id = 'slow'"))

    await wait_until_async(planned, what="the leader to see a row that was written now")


async def now_at(database: TestDatabase) -> datetime:
    ((now,),) = await database.execute("SELECT UTC_TIMESTAMP(6)")
    assert isinstance(now, datetime)
    return now


async def until_past(database: TestDatabase, moment: datetime) -> None:
    async def past() -> bool:
        return await now_at(database) >= moment

    await wait_until_async(past, what=f"{moment}")
