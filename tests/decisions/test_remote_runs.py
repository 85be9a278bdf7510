"""Which runs on other replicas are looked at: those that wait no longer, for replicas take them in order."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from piko.core.types import RunState
from piko.decisions.runs import Runs
from piko.model.runs import Run
from tests.scheduler.making import NOON

STEP = timedelta(microseconds=1)


def offered(number: int) -> Run:
    return Run(
        run_id=f"run-{number}",
        job_id=f"job-{number}",
        scheduled_time=NOON,
        state=RunState.QUEUED,
        offered_at=NOON + number * STEP,
        backfill_id="backfill" if number % 3 == 0 else None,
    )


def account(count: int) -> Runs:
    """What a leader knows that has offered `count` runs."""
    runs = Runs()
    for number in range(count):
        run = offered(number)
        runs.of(run).begin(run)
    return runs


@given(count=st.integers(1, 20), taken=st.integers(0, 20))
def test_what_was_offered_before_the_oldest_that_waits_is_taken(count: int, taken: int) -> None:
    runs = account(count)
    oldest = offered(taken).offered_at if taken < count else None
    expected = {f"run-{number}" for number in range(min(taken, count))}
    assert runs.live.taken(oldest) | runs.backfills.taken(oldest) == expected
    assert runs.taken_ids(oldest) == (None if oldest is None else expected)


def test_an_offer_that_no_replica_takes_hides_no_other() -> None:
    runs = account(3)
    assert runs.taken_ids(offered(0).offered_at) == set()
    assert runs.taken_ids(offered(0).offered_at) is None, "all are looked at"
    assert runs.taken_ids(offered(2).offered_at) == {"run-0", "run-1"}


def test_a_run_that_was_never_offered_by_this_leader_is_looked_at() -> None:
    runs = account(2)
    other = Run(run_id="other", job_id="job", scheduled_time=NOON, state=RunState.RUNNING, instance_id="two")
    runs.live.hold([other])
    assert runs.taken_ids(offered(1).offered_at) == {"run-0", "other"}
