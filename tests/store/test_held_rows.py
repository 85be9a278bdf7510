"""Somebody holds a row of one job in an open transaction: that job is named, and the others are written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from piko.core.types import RunState, TriggerType
from piko.errors import RowsLockedError
from piko.model.fences import Fence
from piko.model.runs import Run
from piko.model.watermarks import WatermarkMove
from piko.store.engine import Database
from piko.store.held_rows import held_jobs
from piko.store.runs import RunStore
from piko.store.states import StateStore
from tests.harness.databases import TestDatabase
from tests.store.making import (
    LEASE,
    NOW,
    lead,
    make_batch,
    make_outcome,
    make_run,
    make_state,
    make_window_run,
    minute,
    schedule_windows,
)

EDITS = {
    "its schedule": "UPDATE scheduled_job SET priority = 1 WHERE job_id = 'held'",
    "its state": "UPDATE job_state SET message = 'mine' WHERE job_id = 'held'",
    "a run": "UPDATE job_run SET error = 'mine' WHERE run_id = '{run_id}'",
    "a lock": "UPDATE job_lock SET epoch = 0 WHERE job_id = 'held' AND scheduled_time = '2026-01-08 00:01'",
}
JOBS = ("before", "held", "later")
every_edit = pytest.mark.parametrize("edit", EDITS)


@pytest.fixture(autouse=True)
def _rows_have_locks(store: Database) -> None:
    if store.is_sqlite:
        pytest.skip("SQLite has no locks of rows: an open transaction stops every writer")


@asynccontextmanager
async def holding(database: TestDatabase, statement: str) -> AsyncIterator[None]:
    """A person who has said BEGIN and `statement`, and nothing more."""
    engine = create_async_engine(database.dsn, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
            yield
            await connection.rollback()
    finally:
        await engine.dispose()


async def begun(store: Database, database: TestDatabase) -> tuple[Fence, dict[str, Run]]:
    """A run in progress of each job, with its schedule, state and lock."""
    fence = await lead(store)
    await schedule_windows(database, *JOBS, watermark=minute(0))
    running = {job_id: make_window_run(0, job_id=job_id) for job_id in JOBS}
    states = [make_state(job_id, last_run_id=running[job_id].run_id) for job_id in JOBS]
    await RunStore(database=store).claim(make_batch(*running.values(), states=states), fence, now=NOW)
    outcomes = [make_outcome(run, RunState.FAILED) for run in running.values()]
    await RunStore(database=store).finish(outcomes, fence)
    again = {job_id: make_window_run(0, job_id=job_id, attempt=2) for job_id in JOBS}
    await RunStore(database=store).claim(make_batch(*again.values(), again=True), fence, now=NOW)
    return fence, again


@every_edit
async def test_whose_row_it_is_is_found_without_waiting(
    edit: str, store: Database, emptied_database: TestDatabase
) -> None:
    _, running = await begun(store, emptied_database)
    assert await held_jobs(store, JOBS, run_ids=[run.run_id for run in running.values()]) == set()
    async with holding(emptied_database, EDITS[edit].format(run_id=running["held"].run_id)):
        assert await held_jobs(store, JOBS, run_ids=[run.run_id for run in running.values()]) == {"held"}
        assert await held_jobs(store, ["before", "later"]) == set()
    assert await held_jobs(store, JOBS) == set()


@pytest.mark.parametrize("edit", list(EDITS)[1:])
async def test_outcomes_name_the_job_and_the_others_are_written(
    edit: str, store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence, running = await begun(store, emptied_database)
    outcomes = {}
    for job_id, run in running.items():
        retry = replace(
            run,
            run_id=f"{run.run_id}-again",
            attempt=3,
            state=RunState.QUEUED,
            trigger_type=TriggerType.RETRY,
        )
        outcomes[job_id] = make_outcome(run, RunState.FAILED, retry=retry)
    async with holding(emptied_database, EDITS[edit].format(run_id=running["held"].run_id)):
        with pytest.raises(RowsLockedError) as refused:
            await runs.finish(list(outcomes.values()), fence)
        assert refused.value.jobs == {"held"}
        others = [outcome for job_id, outcome in outcomes.items() if job_id != "held"]
        assert await runs.finish(others, fence) == {outcome.run.run_id for outcome in others}
    assert await runs.finish([outcomes["held"]], fence) == {running["held"].run_id}


async def test_a_watermark_that_is_held_is_named(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence, running = await begun(store, emptied_database)
    outcomes = [
        make_outcome(run, watermark=WatermarkMove(job_id=job_id, old=minute(0), new=minute(1)))
        for job_id, run in running.items()
    ]
    async with holding(emptied_database, EDITS["its schedule"]):
        with pytest.raises(RowsLockedError) as refused:
            await runs.finish(outcomes, fence)
        assert refused.value.jobs == {"held"}
        with pytest.raises(RowsLockedError) as refused:
            await runs.claim(make_batch(*(make_window_run(1, job_id=job) for job in JOBS)), fence, now=NOW)
        assert refused.value.jobs == {"held"}
        await runs.claim(make_batch(completed={"before"}), fence, now=NOW)
        with pytest.raises(RowsLockedError):
            await runs.claim(make_batch(completed={"held"}), fence, now=NOW)


async def test_queued_runs_that_are_held_are_named_and_the_others_start(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    queued = {job_id: make_run(job_id=job_id, state=RunState.QUEUED) for job_id in JOBS}
    await runs.claim(make_batch(*queued.values()), fence, now=NOW)
    offered = {job_id: replace(run, offered_at=NOW) for job_id, run in queued.items()}
    starting = {
        job_id: make_run(job_id=job_id, run_id=run.run_id, instance_id="one")
        for job_id, run in queued.items()
    }
    free = ["before", "later"]
    async with holding(emptied_database, EDITS["a run"].format(run_id=queued["held"].run_id)):
        for write, chosen in ((runs.offer, offered), (lambda *a: runs.start(*a, now=NOW), starting)):
            with pytest.raises(RowsLockedError) as refused:
                await write(list(chosen.values()), fence)
            assert refused.value.jobs == {"held"}
            written = await write([chosen[job_id] for job_id in free], fence)
            assert written == {queued[job_id].run_id for job_id in free}
    assert await runs.start([starting["held"]], fence, now=NOW) == {queued["held"].run_id}


async def test_states_that_are_held_are_named(store: Database, emptied_database: TestDatabase) -> None:
    states, fence = StateStore(database=store), await lead(store)
    await states.write([make_state(job_id) for job_id in JOBS], fence)
    async with holding(emptied_database, EDITS["its state"]):
        changed = [make_state(job_id, cursor_at=minute(1)) for job_id in (*JOBS, "new")]
        with pytest.raises(RowsLockedError) as refused:
            await states.write(changed, fence)
        assert refused.value.jobs == {"held"}
    await states.write(changed, fence)
    found = await states.read_all()
    assert {state.cursor_at for state in found.values()} == {minute(1)}


async def test_who_takes_runs_waits_for_no_schedule_and_no_lease(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    await schedule_windows(emptied_database, *JOBS, watermark=minute(0))
    queued = [make_window_run(0, job_id=job_id, state=RunState.QUEUED) for job_id in JOBS]
    await runs.claim(make_batch(*queued), fence, now=NOW)
    await runs.offer([replace(run, offered_at=NOW) for run in queued], fence)
    lease = f"UPDATE leader_lease SET renewed_at = NULL WHERE name = '{LEASE}'"  # as a renewal in flight
    async with holding(emptied_database, EDITS["its schedule"]), holding(emptied_database, lease):
        taken, left = await runs.fetch("one", lease=LEASE, limit=5, now=NOW, knows=lambda _: True)
    assert {run.job_id for run in taken} == set(JOBS)
    assert {run.epoch for run in taken} == {fence.epoch}
    assert left == []
