"""Claims that were made ahead are taken back or queued again, once, and only while their runs wait."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from piko.core.types import RunState
from piko.errors import FencedError
from piko.model.claims import Withdrawal
from piko.model.fences import Fence, InstanceFence
from piko.model.instances import StartMark
from piko.model.runs import Run
from piko.store.engine import Database
from piko.store.instances import InstanceStore
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
)

SOON = NOW + timedelta(seconds=1)


async def claim_ahead(runs: RunStore, fence: Fence, **values: Any) -> Run:
    run = make_run(1, starts_at=SOON, instance_id="one", **values)
    state = make_state(cursor_at=minute(1))
    assert await runs.claim(make_batch(run, states=[state]), fence, now=NOW) == {run.run_id: run}
    return run


def withdrawal(run: Run) -> Withdrawal:
    return Withdrawal(run=run, state=make_state(cursor_at=minute(0)), why="taken back: its row was changed")


async def row_of(database: TestDatabase, run: Run) -> tuple[object, ...]:
    columns = "state, attempt, instance_id, not_before, starts_at, started_at, error"
    ((row),) = await database.execute(f"SELECT {columns} FROM job_run WHERE run_id = '{run.run_id}'")
    return tuple(row)


def said(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


async def test_a_claim_ahead_says_when_its_handler_is_to_start(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run = await claim_ahead(runs, await lead(store))
    state, _, instance_id, _, starts_at, started_at, _ = await row_of(emptied_database, run)
    assert (state, instance_id) == ("RUNNING", "one")
    assert str(starts_at)[:19] == str(started_at)[:19] == said(SOON)
    (found,) = await runs.running()
    assert found.starts_at == SOON


async def test_a_claim_that_is_taken_back_frees_its_due_time_and_says_why(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    run = await claim_ahead(runs, fence)
    for _ in range(2):  # as after a COMMIT whose answer was lost
        assert await runs.withdraw([withdrawal(run)], fence, now=NOW) == {run.run_id}
    state, _, _, _, _, started_at, error = await row_of(emptied_database, run)
    assert (state, started_at, error) == ("CANCELLED", None, "taken back: its row was changed")
    assert await count(emptied_database, "job_lock") == 0
    ((cursor,),) = await emptied_database.execute("SELECT cursor_at FROM job_state")
    assert str(cursor)[:19] == said(minute(0))
    again = make_run(1)
    assert await runs.claim(make_batch(again), fence, now=NOW) == {again.run_id: again}


async def test_a_claim_whose_run_was_ended_by_hand_is_not_taken_back(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    fence = await lead(store)
    run = await claim_ahead(runs, fence)
    await emptied_database.execute("UPDATE job_run SET state = 'CANCELLED', finished_at = '2026-01-01'")
    assert await runs.withdraw([withdrawal(run)], fence, now=NOW) == set()
    assert await count(emptied_database, "job_lock") == 1, "its due time is dealt with"


async def test_a_deposed_leader_takes_nothing_back_and_queues_nothing(
    store: Database, runs: RunStore
) -> None:
    fence = await lead(store)
    run = await claim_ahead(runs, fence)
    await lead(store, "two")
    with pytest.raises(FencedError):
        await runs.withdraw([withdrawal(run)], fence, now=NOW)
    with pytest.raises(FencedError):
        await runs.requeue([run], fence)


async def test_a_run_that_has_not_begun_waits_again_as_the_same_attempt(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run = await claim_ahead(runs, await lead(store), attempt=2)
    fence = await lead(store, "two")
    for _ in range(2):
        assert await runs.requeue([run], fence) == {run.run_id}
    state, attempt, instance_id, not_before, *rest = await row_of(emptied_database, run)
    assert (state, attempt, instance_id, rest) == ("QUEUED", 2, None, [None, None, None])
    assert str(not_before)[:19] == said(SOON)
    (waiting,) = await runs.queued()
    assert waiting.due_time == run.due_time
    assert await count(emptied_database, "job_lock", f"run_id = '{run.run_id}'") == 1


async def test_a_claim_that_was_queued_again_can_still_be_taken_back(
    store: Database, runs: RunStore, emptied_database: TestDatabase
) -> None:
    run = await claim_ahead(runs, await lead(store))
    fence = await lead(store, "two")
    await runs.requeue([run], fence)
    assert await runs.withdraw([withdrawal(run)], fence, now=NOW) == set(), "no instance has it"
    waiting = replace(withdrawal(run), queued=True)
    assert await runs.withdraw([waiting], fence, now=NOW) == {run.run_id}
    assert (await row_of(emptied_database, run))[0] == "CANCELLED"
    assert await runs.queued() == []


async def test_a_run_that_has_ended_is_not_queued_again(store: Database, runs: RunStore) -> None:
    fence = await lead(store)
    run = await claim_ahead(runs, fence)
    await InstanceStore(database=store).beat(make_instance("one"))
    await runs.finish([make_outcome(run)], InstanceFence(instance_id="one", epoch=fence.epoch))
    assert await runs.requeue([run], fence) == set()


# ---- start marks ------------------------------------------------------------------------------------


async def test_a_start_mark_cannot_be_written_once_another_leads(store: Database) -> None:
    instances = InstanceStore(database=store)
    await instances.beat(make_instance("one"))
    first = await lead(store)
    assert await instances.mark_starts("one", epoch=first.epoch, until=minute(1))
    assert await instances.mark_starts("one", epoch=first.epoch, until=minute(1)), "twice is once"
    await lead(store, "two")
    assert not await instances.mark_starts("one", epoch=first.epoch, until=minute(9))
    marks = await instances.start_marks({"one", "nobody"})
    assert marks == {"one": StartMark(starts_until=minute(1), fenced_epoch=first.epoch)}


async def test_an_instance_that_has_stopped_starts_nothing_more(store: Database) -> None:
    instances = InstanceStore(database=store)
    await instances.beat(make_instance("one"))
    await instances.stop(make_instance("one"))
    (mark,) = (await instances.start_marks({"one"})).values()
    assert mark.stopped


@pytest.mark.parametrize(
    ("mark", "starts_at", "excludes"),
    [
        (StartMark(starts_until=None, fenced_epoch=7), minute(1), True),
        (StartMark(starts_until=minute(0), fenced_epoch=7), minute(1), True),
        (StartMark(starts_until=minute(1), fenced_epoch=7), minute(1), False),
        (StartMark(starts_until=minute(2), fenced_epoch=7), minute(1), False),
        (StartMark(starts_until=minute(0), fenced_epoch=6), minute(1), False),
        (StartMark(starts_until=minute(0), fenced_epoch=None), minute(1), False),
        (StartMark(starts_until=minute(0), fenced_epoch=None, stopped=True), minute(1), True),
        (StartMark(starts_until=minute(0), fenced_epoch=7), None, False),
    ],
)
def test_only_a_mark_that_stands_still_behind_a_start_excludes_it(
    mark: StartMark, starts_at: datetime | None, *, excludes: bool
) -> None:
    run = make_run(1, state=RunState.RUNNING, instance_id="one", epoch=7, starts_at=starts_at)
    assert mark.excludes(run) is excludes
