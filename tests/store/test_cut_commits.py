"""A COMMIT that is cut off, and works before or after that: the same call again finds what it wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import pytest

from piko.core.types import RunState, TriggerType
from piko.errors import DatabaseUnavailableError
from piko.model.backfills import Backfill
from piko.model.changes import Actor
from piko.model.watermarks import WatermarkMove
from piko.store.backfills import BackfillStore
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.leases import LeaseStore
from piko.store.reports.changes import ChangeList
from piko.store.run_acts import RunActs
from piko.store.runs import RunStore
from piko.store.states import StateStore
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.store.cutting import CuttableWay, cuttable
from tests.store.making import (
    LEASE,
    NOW,
    count,
    lead,
    make_batch,
    make_instance,
    make_outcome,
    make_run,
    make_state,
    make_window_run,
    minute,
    opened,
    schedule_windows,
    set_watermark,
    watermark_of,
    written,
)

T = TypeVar("T")

_LATE_S = 1.5

_SOMEBODY = Actor(who="somebody", via="cli")


@dataclass(frozen=True, slots=True)
class Cut:
    """Piko's engines over a way that is cut after a COMMIT, and the database itself."""

    way: CuttableWay
    database: Database
    direct: TestDatabase
    late: bool

    async def commit_of(self, call: Callable[[], Awaitable[T]]) -> None:
        """Make `call`; it commits, maybe later, and does not learn of it."""
        async with self.database.transaction(), self.database.statements():
            pass  # connections are there, and what they commit at their own start is through
        if self.late:
            self.way.hold_next_commit()
        else:
            self.way.cut_next_commit()
        with pytest.raises(DatabaseUnavailableError):
            await call()
        assert self.way.cuts == (0 if self.late else 1)
        asyncio.get_running_loop().call_later(_LATE_S, self.way.let_commit_go)


@pytest.fixture(params=["unheard", "late"])
async def cut(request: pytest.FixtureRequest, emptied_database: TestDatabase) -> AsyncIterator[Cut]:
    if emptied_database.kind == "sqlite":
        pytest.skip("there is no connection to cut")
    async with cuttable(emptied_database) as (way, beyond), opened(beyond) as database:
        yield Cut(way=way, database=database, direct=emptied_database, late=request.param == "late")


async def test_a_claim_that_is_made_again_wins_what_it_had_won(cut: Cut) -> None:
    runs, fence = RunStore(database=cut.database), await lead(cut.database)
    await schedule_windows(cut.direct, watermark=None)
    batch = make_batch(
        make_run(),
        make_window_run(3),
        states=[make_state()],
        watermarks=[WatermarkMove(job_id="windows", old=None, new=minute(3))],
    )
    await cut.commit_of(lambda: runs.claim(batch, fence, now=NOW))
    await runs.wait_for(batch.runs)
    assert (await runs.claim(batch, fence, now=NOW)).keys() == {run.run_id for run in batch.runs}
    assert await count(cut.direct, "job_run") == await count(cut.direct, "job_lock") == 2
    assert await watermark_of(cut.direct) == written(minute(3))


async def test_a_start_that_is_made_again_starts_what_it_had_started(cut: Cut) -> None:
    runs, fence = RunStore(database=cut.database), await lead(cut.database)
    queued = make_run(state=RunState.QUEUED)
    await runs.claim(make_batch(queued), fence, now=NOW)
    starting = make_run(run_id=queued.run_id)
    await cut.commit_of(lambda: runs.start([starting], fence, now=NOW))
    await runs.wait_for([starting])
    assert await runs.start([starting], fence, now=NOW) == {queued.run_id}


async def test_an_outcome_that_is_told_again_takes_effect_once(cut: Cut) -> None:
    runs, fence = RunStore(database=cut.database), await lead(cut.database)
    await schedule_windows(cut.direct, watermark=minute(0))
    done, failed = make_window_run(), make_run()
    await runs.claim(make_batch(done, failed), fence, now=NOW)
    retry = make_run(state=RunState.QUEUED, attempt=2, trigger_type=TriggerType.RETRY)
    outcomes = [
        make_outcome(done, watermark=WatermarkMove(job_id="windows", old=minute(0), new=minute(1))),
        make_outcome(failed, RunState.FAILED, retry=retry),
    ]
    await cut.commit_of(lambda: runs.finish(outcomes, fence))
    await wait_until_async(lambda: cut.way.cuts, what="the COMMIT to arrive")
    await set_watermark(cut.direct, minute(0))  # somebody wants the window again
    await runs.start([make_run(run_id=retry.run_id)], fence, now=NOW)
    assert await runs.finish(outcomes, fence) == {done.run_id, failed.run_id}
    assert await watermark_of(cut.direct) == written(minute(0)), "whom the second try would have overruled"
    assert await count(cut.direct, "job_run") == 3
    assert [run.run_id for run in await runs.running()] == [retry.run_id]


async def test_leadership_that_was_won_unheard_is_won_by_the_next_try(cut: Cut) -> None:
    leases = LeaseStore(database=cut.database)

    def take() -> Awaitable[int | None]:
        return leases.acquire(LEASE, holder="one", host="host", lease_s=3600)

    await cut.commit_of(take)
    assert await take() == 2


async def test_states_that_are_written_again_are_the_same(cut: Cut) -> None:
    states, fence = StateStore(database=cut.database), await lead(cut.database)
    state = make_state(cursor_at=minute(5))
    await cut.commit_of(lambda: states.write([state], fence))
    await states.write([state], fence)
    assert await states.read_all() == {"job": state}


async def test_a_request_that_is_made_again_is_made_once(cut: Cut) -> None:
    runs, requests = RunStore(database=cut.database), BackfillStore(database=cut.database)
    queued = make_run(state=RunState.QUEUED, trigger_type=TriggerType.MANUAL)

    async def ask_for_a_run() -> None:
        await RunActs(database=cut.database).queue(queued, actor=_SOMEBODY, what="trigger")

    async def ask_for_a_backfill() -> None:
        await requests.create(request, actor=_SOMEBODY)

    request = Backfill(
        backfill_id="one",
        job_id="windows",
        range_start=minute(0),
        range_end=minute(2),
        schedule_type="interval",
        schedule_expr='{"minutes": 1}',
        timezone="UTC",
        next_start=minute(0),
        windows_total=2,
    )
    async with cut.database.transaction():
        pass
    for number, ask in enumerate((ask_for_a_run, ask_for_a_backfill), start=1):
        if cut.late:
            cut.way.delay_next_commit(_LATE_S)
        else:
            cut.way.cut_next_commit()
        await ask()  # which finds out by itself
        await wait_until_async(lambda: cut.way.cuts == number, what="the COMMIT to be cut off")  # noqa: B023
    assert [run.run_id for run in await runs.queued()] == [queued.run_id]
    assert [found.backfill_id for found in await requests.newest()] == ["one"]


async def test_a_run_with_an_id_of_its_own_is_queued_once_however_often_it_is_asked_for(cut: Cut) -> None:
    acts, changes = RunActs(database=cut.database), ChangeList(database=cut.database)
    asked = make_run(state=RunState.QUEUED, trigger_type=TriggerType.MANUAL)
    later = replace(asked, scheduled_time=minute(5))

    async def ask() -> None:
        await acts.queue_once(asked, actor=_SOMEBODY, what="trigger")

    await cut.commit_of(ask)
    assert await acts.queue_once(later, actor=_SOMEBODY, what="trigger") == asked.scheduled_time
    known = await acts.queued_at(asked.run_id, job_id=asked.job_id, what="trigger")
    assert known == asked.scheduled_time
    assert len(await changes.page(job_id=asked.job_id, after=None, limit=9)) == 1

    await cut.direct.execute("DELETE FROM job_run")  # as retention does
    assert await acts.queued_at(asked.run_id, job_id=asked.job_id, what="trigger") == known
    assert await acts.queued_at(asked.run_id, job_id=asked.job_id, what="retry") is None
    assert await acts.queued_at("another", job_id=asked.job_id, what="trigger") is None


async def test_what_was_taken_unheard_is_found_when_its_commit_has_come(cut: Cut) -> None:
    runs, fence = RunStore(database=cut.database), await lead(cut.database)
    await InstanceStore(database=cut.database).beat(make_instance("one"))
    queued = make_run(state=RunState.QUEUED)
    await runs.claim(make_batch(queued), fence, now=NOW)
    await runs.offer([replace(queued, offered_at=NOW)], fence)

    async def take() -> None:
        await runs.fetch("one", lease=LEASE, limit=5, now=NOW, knows=lambda _: True)

    await cut.commit_of(take)

    async def ours() -> list[str]:
        return [run.run_id for run in await runs.begun_by("one")]

    assert await wait_until_async(ours, what="the run to be ours") == [queued.run_id]
    await cut.direct.execute(f"UPDATE runtime_instance SET fenced_epoch = {fence.epoch}")
    assert await ours() == [], "it was taken away, and is the next leader's to judge"
