"""A config that does not fit is said wherever somebody looks, and the one before it holds."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.piko import piko
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, schedule, until_runs

APP = """
from pydantic import BaseModel, Field
from piko import PikoApp

app = PikoApp(name="trial")

class Sweep(BaseModel):
    concurrency: int = Field(10, le=100)
    password: str = Field("", max_length=8)

@app.job(schema=Sweep)
async def sweep(ctx, scheduled_time):
    print("sweeps with", ctx["config"].concurrency, flush=True)
"""
REFUSED = "the config does not fit Sweep: concurrency = 500: Input should be less than or equal to 100"
MISSPELT = "concurency: the model has no such key; did you mean `concurrency`?"


async def test_a_config_that_does_not_fit_is_said_wherever_one_looks(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    await _write(database, {"concurrency": 50})
    await schedule(database, "sweep")
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    await until_runs(database, "sweep", 1)

    await _write(database, {"concurrency": 500, "password": "hunter2-hunter2"})
    await _until_noted(
        database, f"revision 2 of its config was refused, revision 1 stays in force: {REFUSED}"
    )
    event = json.loads(replica.process.wait_for_line("config_does_not_fit"))
    assert (event["level"], event["job_id"]) == ("warning", "sweep")
    assert "revision 1 stays in force" in event["why"]
    assert REFUSED in event["why"]
    assert "password: string_too_long" in event["why"]
    reported = piko("jobs", dsn=database.dsn, cwd=replicas.folder)
    assert "revision 2 of its config was refused, revision 1 stays in force" in reported.out
    assert "piko_invalid_configs 1.0" in replica.get("/metrics")[1]
    [(error,)] = await database.execute("SELECT error FROM job_config_revision WHERE revision = 2")
    assert error.startswith(REFUSED)
    assert "hunter2" not in replica.process.output + reported.out + error
    before = len(await until_runs(database, "sweep", 1))
    await until_runs(database, "sweep", before + 2)
    assert "sweeps with 500" not in replica.process.output

    await _write(database, {"concurency": 70})
    await _until_noted(database, f"revision 3 of its config: {MISSPELT}")
    replica.process.wait_for_line("sweeps with 10")
    assert MISSPELT in piko("jobs", dsn=database.dsn, cwd=replicas.folder).out
    assert "piko_invalid_configs 0.0" in replica.get("/metrics")[1]

    await _write(database, {"concurrency": 70})
    await _until_noted(database, None)
    replica.process.wait_for_line("sweeps with 70")


async def test_a_config_for_a_job_that_nobody_has_is_said(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    replicas.write(APP)
    await _write(migrated_mariadb, {"concurrency": 50}, job_id="sweeep")
    replica = replicas.start(migrated_mariadb.dsn)
    replica.process.wait_for_line("no replica has registered the job 'sweeep'; did you mean `sweep`?")


async def _write(database: TestDatabase, config: Any, *, job_id: str = "sweep") -> None:
    """In one statement: between two, a replica might see that the job has no config."""
    await database.execute(
        f"REPLACE INTO job_config (job_id, config_json) VALUES ('{job_id}', '{json.dumps(config)}')"
    )


async def _until_noted(database: TestDatabase, note: str | None) -> None:
    async def noted() -> bool:
        rows = await database.execute("SELECT message FROM job_state WHERE status = 'Scheduled'")
        return any((said or "").startswith(note) if note else said is None for (said,) in rows)

    await wait_until_async(noted, what=f"job_state to say {note!r}")
