"""The fence of a batch is looked at late: nobody waits for the batch, and a takeover meanwhile undoes it."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.util import await_only

from piko.core.types import RunState
from piko.errors import FencedError
from piko.model.fences import Fence, InstanceFence
from piko.model.runs import Run
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.leases import LeaseStore
from piko.store.runs import RunStore
from tests.harness.databases import TestDatabase
from tests.store.making import (
    NOW,
    count,
    lead,
    make_batch,
    make_instance,
    make_outcome,
    make_run,
    make_state,
    minute,
    opened,
)


@pytest.fixture(autouse=True)
def _with_locks_of_rows(emptied_database: TestDatabase) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")


_OF_CLAIM, _OF_END = 2, 4
"""The number of the statement that looks at the fence."""


@contextmanager
def before_statements(database: Database, act: Callable[[int], Awaitable[object]]) -> Iterator[None]:
    """Have `act` done before each statement of transactions, given its number."""
    numbers = itertools.count()

    def hook(*_said: Any) -> None:
        await_only(act(next(numbers)))

    engine = database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", hook)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", hook)


async def lead_beside(holder: str, database: TestDatabase) -> Fence:
    """Leadership for `holder`, over engines of its own."""
    async with opened(database) as beside:
        return await lead(beside, holder)


async def in_progress(store: Database, runs: RunStore) -> tuple[Run, InstanceFence]:
    """A run of the instance `one`, which leads, and the fence of its end."""
    await InstanceStore(database=store).beat(make_instance())
    fence = await lead(store)
    run = make_run()
    await runs.claim(make_batch(run, states=[make_state()]), fence, now=NOW)
    return run, InstanceFence(instance_id="one", epoch=fence.epoch)


async def test_a_renewal_waits_for_no_claim_that_is_being_written(
    store: Database, runs: RunStore, leases: LeaseStore
) -> None:
    fence = await lead(store)
    renewed: list[bool] = []

    async def renew(number: int) -> None:
        if number <= _OF_CLAIM:
            renewed.append(await leases.renew(fence, holder="one", lease_s=60))

    run = make_run()
    with before_statements(store, renew):
        won = await runs.claim(make_batch(run, states=[make_state()]), fence, now=NOW)
    assert set(won) == {run.run_id}
    assert renewed == [True] * (_OF_CLAIM + 1)


async def test_a_start_mark_and_a_heartbeat_wait_for_no_outcomes_that_are_being_written(
    store: Database, runs: RunStore
) -> None:
    run, fence = await in_progress(store, runs)
    instances, marked = InstanceStore(database=store), 0

    async def mark(number: int) -> None:
        nonlocal marked
        if number <= _OF_END:
            await instances.beat(make_instance())
            marked += await instances.mark_starts("one", epoch=fence.epoch, until=minute(number))

    with before_statements(store, mark):
        assert await runs.finish([make_outcome(run)], fence) == {run.run_id}
    assert marked == _OF_END + 1


@pytest.mark.parametrize("at", range(_OF_CLAIM + 1))
async def test_a_takeover_while_a_claim_is_written_undoes_all_of_it(
    at: int, store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    next_fences: list[Fence] = []

    async def take_over(number: int) -> None:
        if number == at:
            next_fences.append(await lead_beside("two", emptied_database))

    run = make_run()
    batch = make_batch(run, states=[make_state()])
    with before_statements(store, take_over), pytest.raises(FencedError):
        await runs.claim(batch, fence, now=NOW)
    for table in ("job_lock", "job_run", "job_state"):
        assert await count(emptied_database, table) == 0
    (following,) = next_fences
    assert await runs.claim(make_batch(run), following, now=NOW)


@pytest.mark.parametrize("at", range(_OF_END + 1))
async def test_a_takeover_while_an_end_is_written_leaves_it_to_the_next_leader(
    at: int, store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run, fence = await in_progress(store, runs)
    taken: list[Fence] = []

    async def take_over(number: int) -> None:
        if number == at:
            taken.append(await lead_beside("two", emptied_database))

    with before_statements(store, take_over), pytest.raises(FencedError):
        await runs.finish([make_outcome(run)], fence)
    assert await count(emptied_database, "job_run", "state = 'RUNNING'") == 1
    (following,) = taken
    assert await runs.finish([make_outcome(run, RunState.LOST)], following) == {run.run_id}
