"""Runs, batches and leaderships for tests of the store and of what writes through it."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from piko.core.types import FAILED_STATES, DataInterval, RunState
from piko.model.changes import Actor
from piko.model.claims import ClaimBatch
from piko.model.fences import Fence
from piko.model.instances import Instance
from piko.model.objectives import data_late_at
from piko.model.runs import Outcome, Run
from piko.model.states import JobState
from piko.store.data_deadlines import DataDeadlineStore
from piko.store.engine import Database, open_database
from piko.store.leases import LeaseStore
from tests.harness.databases import TestDatabase

NOW = datetime(2026, 1, 8, 10, 0, 0, 123456, tzinfo=UTC)
LEASE = "default"
ACTOR = Actor(who="somebody", via="cli")

_numbers = itertools.count(1)


def fresh_id(prefix: str = "run") -> str:
    return f"{prefix}-{next(_numbers)}"


def minute(number: int) -> datetime:
    """The due time of that number."""
    return datetime(2026, 1, 8, tzinfo=UTC) + timedelta(minutes=number)


def window(number: int) -> DataInterval:
    return DataInterval(minute(number), minute(number + 1))


def make_run(
    number: int = 0, *, job_id: str = "job", state: RunState = RunState.RUNNING, **values: Any
) -> Run:
    """A run of the due time `number`, about to be claimed by the instance `one`."""
    instance = {"instance_id": "one"} if state is RunState.RUNNING else {}
    return Run(
        **{
            "run_id": fresh_id(),
            "job_id": job_id,
            "scheduled_time": minute(number),
            "state": state,
            **instance,
            **values,
        }
    )


def make_window_run(number: int = 0, *, job_id: str = "windows", **values: Any) -> Run:
    """A run of the window that begins at the due time `number`."""
    return make_run(number + 1, job_id=job_id, window=window(number), **values)


def make_instance(name: str = "one") -> Instance:
    return Instance(instance_id=name, app="demo", host=f"host-{name}", pid=7, version="1.0")


def make_batch(*runs: Run, **values: Any) -> ClaimBatch:
    return ClaimBatch(**{"token": fresh_id("token"), "runs": runs, "passed_over": (), "states": (), **values})


def make_outcome(run: Run, state: RunState = RunState.SUCCESS, **values: Any) -> Outcome:
    return Outcome(
        **{
            "run": run,
            "state": state,
            "started_at": NOW,
            "finished_at": NOW + timedelta(seconds=next(_numbers)),
            "duration_s": 1.5,
            **values,
        }
    )


def make_state(job_id: str = "job", **values: Any) -> JobState:
    return JobState(job_id=job_id, **values)


def with_outcome(state: JobState, outcome: Outcome) -> JobState:
    """A job's summary once `outcome` is part of it."""
    succeeded = outcome.state is RunState.SUCCESS
    failed = outcome.state in FAILED_STATES
    return replace(
        state,
        last_run_id=outcome.run.run_id,
        last_state=outcome.state.value,
        last_scheduled_time=outcome.run.scheduled_time,
        last_started_at=outcome.started_at,
        last_duration_s=outcome.duration_s,
        last_error=outcome.error,
        last_success_at=outcome.finished_at if succeeded else state.last_success_at,
        last_failure_at=outcome.finished_at if failed else state.last_failure_at,
        consecutive_failures=0 if succeeded else state.consecutive_failures + failed,
    )


async def lead(database: Database, holder: str = "one", *, lease_s: float = 60) -> Fence:
    """Leadership for `holder`, whoever had it."""
    epoch = await LeaseStore(database=database).acquire(
        LEASE, holder=holder, host=f"host-{holder}", lease_s=lease_s, force=True
    )
    assert epoch is not None
    return Fence(name=LEASE, epoch=epoch)


async def foresee(database: Database, fence: Fence) -> None:
    """Write down of every job from when on its data is late, as a leader has done soon after it took over."""
    deadlines = DataDeadlineStore(database=database)
    while job_ids := await deadlines.astray(limit=1000):
        found = await deadlines.read(job_ids)
        late = {job_id: data_late_at(data.job) for job_id, data in found.items()}
        await deadlines.write(late, fence, deleted=set(job_ids) - found.keys())


@asynccontextmanager
async def opened(test_database: TestDatabase, **values: Any) -> AsyncIterator[Database]:
    """Piko's own engines over a test's database."""
    database = open_database(test_database.dsn, **values)
    try:
        yield database
    finally:
        await database.close()


async def count(database: TestDatabase, table: str, condition: str = "1 = 1") -> int:
    rows = await database.execute(f"SELECT COUNT(*) FROM {table} WHERE {condition}")
    return int(rows[0][0])


async def schedule_windows(database: TestDatabase, *job_ids: str, watermark: datetime | None) -> None:
    """The rows of stateful jobs; of `windows`, if no other are named."""
    said = "NULL" if watermark is None else f"'{watermark:%Y-%m-%d %H:%M:%S}'"
    rows = [f"('{job_id}', 'interval', '{{\"minutes\": 1}}', {said})" for job_id in job_ids or ("windows",)]
    await database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, last_data_time) "
        f"VALUES {', '.join(rows)}"
    )


async def set_watermark(database: TestDatabase, moment: datetime, job_id: str = "windows") -> None:
    await database.execute(
        f"UPDATE scheduled_job SET last_data_time = '{moment:%Y-%m-%d %H:%M:%S}' WHERE job_id = '{job_id}'"
    )


async def watermark_of(database: TestDatabase, job_id: str = "windows") -> str:
    rows = await database.execute(f"SELECT last_data_time FROM scheduled_job WHERE job_id = '{job_id}'")
    return str(rows[0][0])[:19]


def written(moment: datetime) -> str:
    """As `watermark_of` tells it."""
    return f"{moment:%Y-%m-%d %H:%M:%S}"
