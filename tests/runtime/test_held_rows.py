"""An edit of one job that somebody holds open in a transaction delays that job, and no other."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.harness.databases import TestDatabase, patient_engine
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, runs, schedule, until_runs

EDITS = (
    ("windows", "UPDATE scheduled_job SET priority = 1 WHERE job_id = 'windows'"),
    ("quick", "UPDATE job_state SET message = 'mine' WHERE job_id = 'quick'"),
    ("windows", "UPDATE job_state SET message = 'mine' WHERE job_id = 'windows'"),
    # A range of runs: new ones of the job would lie within it.
    ("quick", "UPDATE job_run FORCE INDEX (ix_job_run_job_time) SET priority = 1 WHERE job_id = 'quick'"),
    ("windows", "UPDATE job_config SET version = version + 1 WHERE job_id = 'windows'"),
)


async def until_said(replica: Replica, what: str, job_id: str, since: int) -> None:
    def said() -> bool:
        lines = replica.process.output[since:].splitlines()
        return any(what in line and job_id in line for line in lines)

    await wait_until_async(said, what=f"the log to say {what} of {job_id}")


async def hold(connection: AsyncConnection, edit: str) -> None:
    """Edit, and once more where the server chose this edit to end a deadlock, as a person would."""
    while True:
        try:
            await connection.execute(text(edit))
            return
        except OperationalError as error:
            if "Deadlock found" not in str(error):
                raise
            await connection.rollback()


@pytest.mark.parametrize("executor", ["leader", "replicas"])
async def test_a_row_that_is_held_delays_its_job_alone(
    executor: str, replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    for job_id in ("quick", "windows", "slow"):
        await schedule(database, job_id, coalesce=0)
    await database.execute("INSERT INTO job_config (job_id, config_json) VALUES ('windows', '{}')")
    replica = replicas.start(database.dsn, environment={"PIKO_EXECUTOR": executor, "SLOW_S": "0.1"})
    await replica.until_ready()
    for job_id in ("quick", "windows", "slow"):
        await until_runs(database, job_id, 2)
    epoch = await database.execute("SELECT epoch FROM leader_lease")
    person = patient_engine(database.dsn)
    try:
        for held, edit in EDITS:
            reported = len(replica.process.output)
            async with person.connect() as connection:
                await hold(connection, edit)
                for job_id in {"quick", "windows", "slow"} - {held}:
                    done = len(await runs(database, job_id, "SUCCESS"))
                    await until_runs(database, job_id, done + 3)
                if "job_config" not in edit:  # which nobody but its reader needs
                    await until_said(replica, "rows_held", held, reported)
                await connection.rollback()
            done = len(await runs(database, held, "SUCCESS"))
            await until_runs(database, held, done + 2)
            assert await database.execute("SELECT epoch FROM leader_lease") == epoch, edit
    finally:
        await person.dispose()
    for job_id in ("quick", "windows"):
        states = {state for _, state, _ in await runs(database, job_id)}
        assert not states & {"LOST", "FAILED", "MISSED"}, "what was delayed is late, and no more"
