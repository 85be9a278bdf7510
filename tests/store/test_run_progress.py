"""What others run is read by what has moved, few or many."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from piko.core.types import RunState, TriggerType
from piko.model.fences import InstanceFence
from piko.model.runs import Run, RunProgress
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.runs import RunStore
from tests.harness.databases import TestDatabase
from tests.store.making import LEASE, NOW, lead, make_batch, make_instance, make_outcome, make_run

FEW, MANY = 8, 300
LATER = NOW + timedelta(seconds=1)


async def offered(store: Database, runs: RunStore, count: int, **values: Any) -> list[Run]:
    """`count` runs that wait for a replica, in the order in which they are taken."""
    waiting = [
        make_run(number, state=RunState.QUEUED, offered_at=NOW + timedelta(microseconds=number), **values)
        for number in range(count)
    ]
    await InstanceStore(database=store).beat(make_instance("two"))
    await runs.claim(make_batch(*waiting), await lead(store), now=NOW)
    return waiting


async def take(runs: RunStore, count: int) -> list[Run]:
    """The next `count` runs begin on another replica."""
    taken, _ = await runs.fetch("two", lease=LEASE, limit=count, now=LATER, knows=lambda _: True)
    return taken


async def end(runs: RunStore, *ended: Run) -> None:
    fence = InstanceFence(instance_id="two", epoch=ended[0].epoch or 0)
    outcomes = [make_outcome(run, started_at=LATER, finished_at=LATER) for run in ended]
    assert await runs.finish(outcomes, fence) == {run.run_id for run in ended}


@pytest.mark.parametrize("count", [FEW, MANY])
async def test_what_has_begun_ended_or_been_deleted_is_found(
    store: Database, runs: RunStore, emptied_database: TestDatabase, count: int
) -> None:
    waiting = await offered(store, runs, count)
    ended, begun, deleted = await take(runs, 3)
    await end(runs, ended)
    await emptied_database.execute(f"DELETE FROM job_run WHERE run_id = '{deleted.run_id}'")
    found = await runs.progress([run.run_id for run in waiting])
    assert {run_id: found[run_id] for run_id in (ended.run_id, begun.run_id, deleted.run_id)} == {
        ended.run_id: _progress(ended, RunState.SUCCESS, finished_at=LATER),
        begun.run_id: _progress(begun, RunState.RUNNING),
        deleted.run_id: None,
    }
    others = [run for run in found.values() if run is not None and run.state is RunState.QUEUED]
    assert len(others) == len(found) - 3, "the others, as far as any are read, wait"


async def test_of_many_only_those_are_read_that_have_moved(store: Database, runs: RunStore) -> None:
    waiting = await offered(store, runs, MANY)
    asked = [run.run_id for run in waiting]
    taken = await take(runs, 100)
    begun = {run.run_id for run in taken}
    assert (await runs.progress(asked)).keys() == begun
    assert await runs.progress(asked, begun=begun) == {}
    await end(runs, *taken[:2])
    assert (await runs.progress(asked, begun=begun)).keys() == {run.run_id for run in taken[:2]}


async def test_the_oldest_offer_is_the_next_that_is_taken(store: Database, runs: RunStore) -> None:
    assert await runs.oldest_offer() is None
    waiting = await offered(store, runs, MANY)
    taken = await take(runs, 100)
    assert await runs.oldest_offer() == waiting[100].offered_at
    read = await runs.progress([run.run_id for run in waiting[:100]], waiting=False)
    assert read.keys() == {run.run_id for run in taken}
    await take(runs, MANY)
    assert await runs.oldest_offer() is None


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "attempt": 2,
            "trigger_type": TriggerType.RETRY,
            "priority": -3,
            "not_before": NOW,
            "config_revision": 4,
            "config_overrides": '{"name": "Ada"}',
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        },
    ],
    ids=["plain", "with all that a run may have"],
)
async def test_a_run_is_taken_as_it_was_offered(
    store: Database, runs: RunStore, values: dict[str, Any]
) -> None:
    (waiting,) = await offered(store, runs, 1, **values)
    (taken,) = await take(runs, 1)
    begun = replace(waiting, state=RunState.RUNNING, instance_id="two", offered_at=None)
    assert taken == replace(begun, epoch=taken.epoch)
    assert await runs.begun_by("two") == [taken]
    assert await take(runs, 1) == []


def _progress(run: Run, state: RunState, *, finished_at: datetime | None = None) -> RunProgress:
    return RunProgress(
        run_id=run.run_id, job_id=run.job_id, state=state, started_at=LATER, finished_at=finished_at
    )
