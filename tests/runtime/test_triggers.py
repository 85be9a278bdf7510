"""Runs that people queue by hand, on a real replica."""

from __future__ import annotations

from datetime import timedelta

from piko.clock import SystemClock
from piko.model.changes import Actor
from piko.steering.runs import trigger
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, runs, schedule
from tests.store.making import opened

_JOBS = 20
_NEVER = f'{{"seconds": {timedelta(weeks=500).total_seconds():.0f}}}'
APP = f"""
from piko import PikoApp

app = PikoApp(name="trial")

async def handler(ctx, scheduled_time):
    pass

for number in range({_JOBS}):
    app.job(job_id=f"job-{{number}}")(handler)
"""


async def test_a_trigger_right_after_its_row_was_inserted_runs(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    replicas.write(APP)
    # A leader that looks for rows more seldom than people type.
    replica = replicas.start(migrated_mariadb.dsn, environment={"PIKO_POLL_INTERVAL_S": "0.5"})
    await replica.until_ready()
    jobs = [f"job-{number}" for number in range(_JOBS)]
    async with opened(migrated_mariadb) as database:
        for job_id in jobs:
            await schedule(migrated_mariadb, job_id, _NEVER)
            await trigger(database, job_id, clock=SystemClock(), actor=Actor(who="a person", via="cli"))

    async def ends() -> list[str] | None:
        found = [state for job_id in jobs for _, state, _ in await runs(migrated_mariadb, job_id)]
        return found if len(found) == _JOBS and not {"QUEUED", "RUNNING"} & set(found) else None

    assert set(await wait_until_async(ends, what="the end of each run")) == {"SUCCESS"}
