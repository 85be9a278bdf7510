"""Runs that were claimed ahead start at their instant, and only while they may."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from piko.catalog.jobs import Job
from piko.clock import SystemClock
from piko.core.types import RunState
from piko.execution.upcoming import UpcomingRuns
from piko.model.fences import InstanceFence
from piko.model.runs import Run
from tests.harness.waiting import wait_until_async
from tests.scheduler.making import planned

FENCE = InstanceFence(instance_id="one", epoch=1)
FAR = datetime(2100, 1, 1, tzinfo=UTC)


class Stage:
    """Upcoming runs, and what has started."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.job = planned()
        self.started: list[tuple[str, datetime]] = []
        self.leads = True
        self.upcoming = UpcomingRuns(start=self._start, may_start=lambda _: self.leads, clock=self.clock)

    def _start(self, run: Run, _job: Job, _fence: InstanceFence) -> None:
        self.started.append((run.run_id, self.clock.now()))

    def hold(self, run_id: str, in_s: float, *, since: datetime | None = None) -> Run:
        starts_at = (since or self.clock.now()) + timedelta(seconds=in_s)
        run = Run(
            run_id=run_id, job_id="job", scheduled_time=starts_at, state=RunState.RUNNING, starts_at=starts_at
        )
        self.upcoming.hold(run, self.job, FENCE)
        return run

    async def until_started(self, *run_ids: str) -> None:
        def have() -> bool:
            return [run_id for run_id, _ in self.started] == list(run_ids)

        await wait_until_async(have, what=f"{run_ids} to start")


async def test_each_run_starts_in_the_order_of_its_instant_and_never_before() -> None:
    stage = Stage()
    stage.upcoming.marked(FAR)
    now = stage.clock.now()
    instants = (("b", 0.1), ("c", 0.15), ("a", 0.05))
    held = {run_id: stage.hold(run_id, in_s, since=now) for run_id, in_s in instants}
    await stage.until_started("a", "b", "c")
    assert all(moment >= held[run_id].scheduled_time for run_id, moment in stage.started)
    assert len(stage.upcoming) == 0


async def test_a_run_waits_for_the_start_mark_and_then_starts_at_once() -> None:
    stage = Stage()
    run = stage.hold("late", 0.01)
    assert stage.upcoming.first_unmarked() == (run.starts_at, FENCE)
    await asyncio.sleep(0.05)
    assert stage.started == []
    stage.upcoming.marked(FAR)
    assert [run_id for run_id, _ in stage.started] == ["late"]
    assert stage.upcoming.first_unmarked() is None


async def test_late_is_what_may_not_start_although_its_time_has_come() -> None:
    stage = Stage()
    run = stage.hold("kept", 0.01)
    stage.hold("later", 3600)
    come = run.scheduled_time + timedelta(minutes=10)
    assert stage.upcoming.late(run.scheduled_time - timedelta(seconds=1)) == []
    assert stage.upcoming.late(come) == ["kept"]
    stage.upcoming.marked(FAR)
    assert stage.upcoming.late(come) == [], "it starts at the next turn of the event loop"
    stage.leads = False
    stage.hold("kept, too", 0.01)
    assert set(stage.upcoming.late(come)) >= {"kept, too"}


async def test_a_suspended_leader_starts_nothing_until_it_may_again() -> None:
    stage = Stage()
    stage.upcoming.marked(FAR)
    stage.leads = False
    stage.hold("held", 0.01)
    await asyncio.sleep(0.1)
    assert stage.started == []
    stage.leads = True
    await stage.until_started("held")


async def test_a_run_that_was_withdrawn_never_starts_and_stays_known_until_that_is_written() -> None:
    stage = Stage()
    stage.upcoming.marked(FAR)
    stage.hold("back", 0.02)
    assert stage.upcoming.withdraw("back")
    assert stage.upcoming.withdraw("back"), "asked again, it still has not begun"
    assert stage.upcoming.run_ids == {"back"}
    stage.hold("next", 0.03)
    await stage.until_started("next")
    stage.upcoming.forget({"back"})
    assert stage.upcoming.run_ids == set()


async def test_a_run_that_has_begun_cannot_be_withdrawn() -> None:
    stage = Stage()
    stage.upcoming.marked(FAR)
    stage.hold("begun", 0.0)
    await stage.until_started("begun")
    assert not stage.upcoming.withdraw("begun")


async def test_what_another_leader_took_away_never_starts() -> None:
    stage = Stage()
    stage.hold("old", 0.01)
    assert [run.run_id for run in stage.upcoming.refused(FENCE)] == ["old"]
    stage.upcoming.marked(FAR)
    stage.hold("new", 0.02)
    await stage.until_started("new")


async def test_what_is_dropped_never_starts() -> None:
    stage = Stage()
    stage.upcoming.marked(FAR)
    stage.hold("one", 0.01)
    assert [run.run_id for run in stage.upcoming.drop()] == ["one"]
    stage.hold("two", 0.03)
    await stage.until_started("two")


async def test_a_run_whose_row_was_ended_is_given_up_before_its_time() -> None:
    stage = Stage()
    stage.hold("ended", 3600)
    stage.upcoming.hand_over("ended")
    stage.upcoming.hand_over("ended")
    assert [run_id for run_id, _ in stage.started] == ["ended"]
    stage.upcoming.drop()


async def test_the_mark_of_a_claim_that_is_under_way_need_not_wait_for_its_end() -> None:
    stage = Stage()
    stage.upcoming.expect(FAR, FENCE)
    assert stage.upcoming.first_unmarked() == (FAR, FENCE)
    stage.upcoming.marked(FAR)
    assert stage.upcoming.first_unmarked() is None
