"""What the database refuses of one job's rows is that job's trouble: it is reported, and the others go on."""

from __future__ import annotations

import json

import pytest

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, schedule, until_runs
from tests.store.poison import WORDS, refusing

APP = """
from pydantic import BaseModel
from piko import PikoApp

app = PikoApp(name="trial")

class Target(BaseModel):
    table: str = "t"

async def run(ctx, scheduled_time):
    pass

for job_id in ("bad", "good"):
    app.job(job_id=job_id, schema=Target)(run)
"""
WRITES = [
    ("INSERT", "job_run", "a claim|the end of a run"),  # also the end of one that was under way is an insert
    ("UPDATE", "job_state", "a claim"),
    ("INSERT", "job_lock", "a claim"),
    ("UPDATE", "job_run", "the end of a run"),
    ("INSERT", "job_config_revision", "a revision of the config"),
]


@pytest.mark.parametrize(("event", "table", "what"), WRITES)
async def test_a_row_that_the_database_refuses_stops_its_job_alone(
    event: str, table: str, what: str, replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    await schedule(database, "good")
    await schedule(database, "bad")
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    await until_runs(database, "bad", 1)
    async with refusing(database, event, table):
        config = json.dumps({"table": "u"})
        for job_id in ("bad", "good"):
            await database.execute(
                f"INSERT INTO job_config (job_id, config_json) VALUES ('{job_id}', '{config}')"
            )
        replica.process.wait_for_line("database_refuses")
        before = len(await until_runs(database, "good", 1))
        await until_runs(database, "good", before + 3)
        if table != "job_state":  # it is what refuses there
            await until_message(database, "the database refuses ")
        replica.process.wait_for_line(what)
        assert WORDS in replica.process.output
        failed = "part_failed"
        assert failed not in replica.process.output
    before = len(await until_runs(database, "bad", 1))
    await until_runs(database, "bad", before + 2)
    await until_message(database, None)


async def until_message(database: TestDatabase, beginning: str | None) -> None:
    async def reported() -> bool:
        ((message,),) = await database.execute("SELECT message FROM job_state WHERE job_id = 'bad'")
        return message is None if beginning is None else (message or "").startswith(beginning)

    await wait_until_async(reported, what=f"job_state to say {beginning!r}")


async def test_a_run_that_cannot_be_taken_keeps_no_replica_from_the_others(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    await schedule(database, "good")
    await schedule(database, "bad")
    replica = replicas.start(database.dsn, environment={"PIKO_EXECUTOR": "replicas"})
    await replica.until_ready()
    await until_runs(database, "bad", 1)
    async with refusing(database, "UPDATE", "job_run", also="NEW.state = 'RUNNING'"):
        for job_id in ("bad", "good"):  # what is asked for is offered, however few there are
            await database.execute(
                "INSERT INTO job_run (run_id, job_id, scheduled_time, state, trigger_type) "
                f"VALUES ('asked-{job_id}', '{job_id}', '2026-01-05 06:00:00', 'QUEUED', 'manual')"
            )
        replica.process.wait_for_line("fetching an available run")
        await until_asked_succeeds(database, "good")
        before = len(await until_runs(database, "good", 1))
        await until_runs(database, "good", before + 3)
        assert "part_failed" not in replica.process.output
    await until_asked_succeeds(database, "bad")


async def until_asked_succeeds(database: TestDatabase, job_id: str) -> None:
    async def succeeded() -> bool:
        rows = await database.execute(f"SELECT state FROM job_run WHERE run_id = 'asked-{job_id}'")
        return rows == [("SUCCESS",)]

    await wait_until_async(succeeded, what=f"the run of {job_id} that was asked for")
