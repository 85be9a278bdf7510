"""What a backfill may start: its own bound, what live runs leave, and never the last place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from piko.core.types import BackfillState, RunState, TriggerType
from piko.decisions.backfill_work import PRIORITY
from piko.model.backfills import Backfill
from piko.model.runs import Outcome, Run
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, row

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Desk:
    """A leader whose runs of backfills alone are looked at."""

    def __init__(self, leader: Leader, *requests: Backfill) -> None:
        self.leader = leader
        self.observe(*requests)

    def observe(self, *requests: Backfill) -> None:
        """These are the open requests, and the leader reads them."""
        self.leader.database.backfills = {request.backfill_id: request for request in requests}
        self.leader.feed(self.leader.database.queue(asked=(), now=self.leader.now))

    def tick(self, now: datetime = NOON) -> list[Run]:
        return [run for run in self.leader.tick(now) if run.backfill_id is not None]

    @property
    def messages(self) -> Mapping[str, str | None]:
        """What the last turn has said of requests that wait."""
        return self.leader.messages

    def end(self, run: Run, state: RunState = RunState.SUCCESS, retry: Run | None = None) -> None:
        outcome = Outcome(
            run=run, state=state, started_at=NOON, finished_at=NOON, duration_s=1.0, retry=retry
        )
        self.leader.record(outcome)


def request(name: str = "b1", *, windows: int = 100, parallelism: int = 1, job_id: str = "job") -> Backfill:
    return Backfill(
        backfill_id=name,
        job_id=job_id,
        range_start=START,
        range_end=START + windows * HOUR,
        schedule_type="interval",
        schedule_expr='{"hours": 1}',
        timezone="UTC",
        parallelism=parallelism,
        next_start=START,
        windows_total=windows,
    )


def leader(places: int = 100, **columns: object) -> Leader:
    return Leader(
        row("job", {"hours": 1}, **columns), row("live", **columns), stateful={"job"}, places=places
    )


def starts(runs: list[Run]) -> list[int]:
    return [int((run.window.start - START) / HOUR) for run in runs if run.window is not None]


def test_windows_run_in_order_as_many_at_once_as_asked_and_then_no_more() -> None:
    desk = Desk(leader(), request(windows=5, parallelism=2))
    first = desk.tick()
    assert starts(first) == [0, 1]
    assert {run.priority for run in first} == {PRIORITY}
    assert {run.trigger_type for run in first} == {TriggerType.BACKFILL}
    assert desk.tick() == []
    desk.end(first[1])
    assert starts(desk.tick()) == [2]
    desk.end(first[0])
    assert starts(desk.tick()) == [3]


@pytest.mark.parametrize(("places", "expected"), [(1, 0), (2, 1), (5, 4), (100, 8)])
def test_the_last_place_stays_free(places: int, expected: int) -> None:
    desk = Desk(leader(places), request(parallelism=8))
    assert len(desk.tick()) == expected
    message = desk.messages.get("b1")
    assert (message is None) is (expected > 0)


def test_live_runs_take_their_places_first_and_are_not_held_up_by_windows_that_run() -> None:
    driver = leader(3)
    desk = Desk(driver, request(parallelism=8))
    assert len(desk.tick()) == 2
    started = driver.tick(at("12:00:10"))
    assert [run.job_id for run in started] == ["live"]
    assert desk.tick() == []
    started += driver.tick(at("13:00:00"))
    assert {run.job_id for run in started} == {"live", "job"}, "its own live window is not blocked either"


def test_a_group_keeps_one_place_free_too_and_counts_both() -> None:
    driver = leader(concurrency_group="api", concurrency_limit=3)
    desk = Desk(driver, request(parallelism=8))
    assert len(desk.tick()) == 2
    assert [run.job_id for run in driver.tick(at("12:00:10"))] == ["live"]
    waits = driver.tick(at("13:00:00"))
    assert waits == [], "the group is full: its limit protects what is behind it"


def test_a_retry_keeps_its_place_waits_its_time_and_goes_first() -> None:
    desk = Desk(leader(), request(parallelism=1))
    (run,) = desk.tick()
    later = NOON + timedelta(seconds=10)
    retry = replace(run, run_id="again", state=RunState.QUEUED, attempt=2, not_before=later)
    desk.end(run, RunState.FAILED, retry)
    assert desk.tick() == []
    assert desk.messages == {}
    (again,) = desk.tick(later)
    assert (again.run_id, again.attempt, again.window) == ("again", 2, run.window)


def test_of_several_requests_the_oldest_goes_first_and_a_paused_one_not_at_all() -> None:
    paused = replace(request("b0"), state=BackfillState.PAUSED)
    desk = Desk(leader(4), paused, request("b1", parallelism=2), request("b2", parallelism=2))
    assert [run.backfill_id for run in desk.tick()] == ["b1", "b1", "b2"]


def test_what_cannot_run_says_why_and_holds_nothing_up() -> None:
    desk = Desk(leader(), request("b1", job_id="deleted"), request("b2"))
    assert [run.backfill_id for run in desk.tick()] == ["b2"]
    assert desk.messages == {"b1": "the job has no row in scheduled_job"}
    desk.tick()
    assert desk.messages == {}, "said once"


def test_runs_of_a_cancelled_request_are_orphans() -> None:
    desk = Desk(leader(), request(parallelism=2))
    running = desk.tick()
    desk.observe()
    assert list(desk.leader.cancelled) == [run.run_id for run in running]
    assert desk.tick() == []


def test_a_step_that_is_refused_is_looked_at_anew() -> None:
    driver = leader()
    desk = Desk(driver, request())
    assert driver.tick(NOON, lost={"job"}) == []
    assert desk.tick() == []
    desk.observe(request())
    assert starts(desk.tick()) == [0]
