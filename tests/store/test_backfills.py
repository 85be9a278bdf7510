"""The progress of a backfill, in the database: once, under the fence, whatever is made again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from piko.core.types import BackfillState, DataInterval, RunState, TriggerType
from piko.errors import FencedError
from piko.model.backfills import Backfill, BackfillStep
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.runs import Outcome, Run
from piko.store.backfills import BackfillStore
from piko.store.engine import Database, open_database
from piko.store.leases import LeaseStore
from piko.store.runs import RunStore
from tests.harness.databases import TestDatabase

START = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
_SOMEBODY = Actor(who="somebody", via="cli")


@pytest.fixture
async def store(migrated_database: TestDatabase) -> AsyncIterator[Database]:
    opened = open_database(migrated_database.dsn)
    yield opened
    await opened.close()


@pytest.fixture
async def fence(store: Database) -> Fence:
    epoch = await LeaseStore(database=store).acquire("default", holder="a", host="here", lease_s=3600)
    assert epoch is not None
    return Fence(name="default", epoch=epoch)


async def _requested(store: Database, windows: int = 3) -> Backfill:
    request = Backfill(
        backfill_id="b1",
        job_id="job",
        range_start=START,
        range_end=START + windows * HOUR,
        schedule_type="interval",
        schedule_expr='{"hours": 1}',
        timezone="UTC",
        next_start=START,
        windows_total=windows,
    )
    await BackfillStore(database=store).create(request, actor=_SOMEBODY)
    return request


def _step(number: int, run_id: str = "") -> BackfillStep:
    start, end = START + number * HOUR, START + (number + 1) * HOUR
    run = Run(
        run_id=run_id or f"run{number}",
        job_id="job",
        scheduled_time=end,
        state=RunState.RUNNING,
        trigger_type=TriggerType.BACKFILL,
        window=DataInterval(start=start, end=end),
        instance_id="i1",
        backfill_id="b1",
    )
    return BackfillStep(backfill_id="b1", since=start, to=end, runs=[run])


def _outcome(step: BackfillStep, state: RunState, retry: Run | None = None) -> Outcome:
    return Outcome(
        run=step.runs[0], state=state, started_at=NOW, finished_at=NOW, duration_s=1.0, retry=retry
    )


async def _now(store: Database) -> Backfill:
    (found,) = await BackfillStore(database=store).matching("b")
    return found


async def test_a_step_is_taken_once_and_again_by_who_took_it(store: Database, fence: Fence) -> None:
    await _requested(store)
    backfills = BackfillStore(database=store)
    assert set(await backfills.claim([_step(0)], fence, now=NOW)) == {"run0"}
    assert set(await backfills.claim([_step(0)], fence, now=NOW)) == {"run0"}, "the COMMIT was cut off"
    assert await backfills.claim([_step(0, "other")], fence, now=NOW) == {}
    assert await backfills.claim([_step(2)], fence, now=NOW) == {}, "not where it stands"
    assert (await _now(store)).next_start == START + HOUR


async def test_a_deposed_leader_cannot_go_on_with_it(store: Database, fence: Fence) -> None:
    await _requested(store)
    backfills = BackfillStore(database=store)
    await LeaseStore(database=store).acquire("default", holder="b", host="there", lease_s=3600, force=True)
    with pytest.raises(FencedError):
        await backfills.claim([_step(0)], fence, now=NOW)
    with pytest.raises(FencedError):
        await backfills.explain({"b1": "nonsense"}, fence)
    assert (await _now(store)).next_start == START


@pytest.mark.parametrize("state", [BackfillState.PAUSED, BackfillState.CANCELLED])
async def test_nothing_is_taken_of_what_is_not_active(
    store: Database, fence: Fence, state: BackfillState
) -> None:
    await _requested(store)
    backfills = BackfillStore(database=store)
    assert await backfills.change_state(
        await _now(store), to=state, of=[BackfillState.ACTIVE], now=NOW, actor=_SOMEBODY
    )
    assert await backfills.claim([_step(0)], fence, now=NOW) == {}
    assert not await backfills.change_state(
        await _now(store), to=state, of=[BackfillState.ACTIVE], now=NOW, actor=_SOMEBODY
    )


async def test_ends_are_counted_once_and_the_last_one_ends_it(store: Database, fence: Fence) -> None:
    await _requested(store)
    backfills, runs = BackfillStore(database=store), RunStore(database=store)
    for number in range(3):
        await backfills.claim([_step(number)], fence, now=NOW)
    good = _outcome(_step(0), RunState.SUCCESS)
    await runs.finish([good], fence)
    await runs.finish([good], fence)
    assert ((await _now(store)).windows_succeeded, (await _now(store)).windows_failed) == (1, 0)
    retry = replace(_step(1).runs[0], run_id="again", state=RunState.QUEUED, attempt=2, instance_id=None)
    await runs.finish([_outcome(_step(1), RunState.FAILED, retry)], fence)
    assert (await _now(store)).windows_failed == 0, "an attempt is left"
    assert [run.backfill_id for run in await runs.queued()] == ["b1"]
    await runs.finish([_outcome(_step(2), RunState.SUCCESS)], fence)
    assert (await _now(store)).state is BackfillState.ACTIVE
    last = Outcome(run=retry, state=RunState.FAILED, started_at=NOW, finished_at=NOW + HOUR, duration_s=1.0)
    await runs.finish([last], fence)
    end = await _now(store)
    assert (end.state, end.windows_succeeded, end.windows_failed) == (BackfillState.FAILED, 2, 1)
    assert end.finished_at == NOW + HOUR


async def test_a_window_that_ends_after_the_cancellation_leaves_it_cancelled(
    store: Database, fence: Fence
) -> None:
    await _requested(store, windows=1)
    backfills, runs = BackfillStore(database=store), RunStore(database=store)
    await backfills.claim([_step(0)], fence, now=NOW)
    await backfills.change_state(
        await _now(store), to=BackfillState.CANCELLED, of=[BackfillState.ACTIVE], now=NOW, actor=_SOMEBODY
    )
    await runs.finish([_outcome(_step(0), RunState.CANCELLED)], fence)
    assert (await _now(store)).state is BackfillState.CANCELLED
    assert await backfills.open() == []
