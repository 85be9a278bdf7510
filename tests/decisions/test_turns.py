"""A backlog is no overlap: each of its instants runs, in its turn."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.core.types import OverlapPolicy, RunState
from piko.decisions import turns
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, seconds

ONE_AFTER_THE_OTHER = ["skip", "queue", "queue_all", "replace"]


def backlog(policy: str = "skip", *, count: int = 5, **columns: Any) -> Leader:
    """A stop of `count` instants, ten seconds each, and the start after it."""
    leader = Leader()
    leader.write(coalesce=False, overlap_policy=policy, **columns)
    leader.away(seconds(10 * count))
    leader.work()
    return leader


@pytest.mark.parametrize("policy", ONE_AFTER_THE_OTHER)
def test_each_instant_of_a_stop_runs_one_after_the_other(policy: str) -> None:
    leader = backlog(policy)
    for _ in range(5):
        assert len(leader.running()) == 1
        leader.end_next()
        leader.work()

    assert leader.started() == [NOON + seconds(10 * number) for number in range(1, 6)]
    assert leader.recorded() == []
    assert leader.cancelled == {}


@pytest.mark.parametrize("each_takes_s", [3, 4])
@pytest.mark.parametrize("policy", ONE_AFTER_THE_OTHER)
def test_what_comes_due_while_a_backlog_is_worked_off_runs_after_it(policy: str, each_takes_s: int) -> None:
    """12:00:50 comes while the last run of the backlog is in progress, or before it starts."""
    leader = backlog(policy, count=4)
    for _ in range(5):
        leader.until(leader.now + seconds(each_takes_s))
        leader.end_next()
        leader.work()

    assert leader.started()[:5] == [NOON + seconds(10 * number) for number in range(1, 6)]
    assert leader.recorded() == []
    assert leader.cancelled == {}


@pytest.mark.parametrize("policy", ONE_AFTER_THE_OTHER)
def test_what_comes_due_while_a_new_leader_works_off_the_backlog_runs_after_it(policy: str) -> None:
    """A run of the leader before is in progress when the new one begins."""
    leader = Leader()
    leader.write(coalesce=False, overlap_policy=policy)
    leader.until(at("12:00:12"))
    leader.away(seconds(33))
    leader.take_over()
    leader.work()
    for _ in range(5):
        leader.until(leader.now + seconds(3))
        leader.end_next()
        leader.work()

    assert leader.started()[:5] == [NOON + seconds(10 * number) for number in range(1, 6)]
    assert leader.recorded() == []
    assert leader.cancelled == {}


def test_what_comes_due_while_a_slow_job_has_a_backlog_meets_the_policy_after_it() -> None:
    leader = backlog(count=2)
    leader.until(at("12:00:45"))
    assert leader.started() == [at("12:00:10")]
    leader.end_next()
    leader.work()
    assert leader.started()[1:] == [at("12:00:20")]
    leader.end_next()
    leader.work()

    assert leader.started()[2:] == []
    assert leader.recorded() == [("SKIPPED", at("12:00:30"), at("12:00:40"), 2)]
    leader.until(at("12:00:50"))
    assert leader.started()[2:] == [at("12:00:50")]


def test_what_waits_for_its_turn_beyond_the_grace_is_missed() -> None:
    leader = backlog(count=4, misfire_grace_s=60.0)
    leader.now = at("12:01:25")
    leader.end_next()
    leader.work()

    assert leader.recorded() == [("MISSED", at("12:00:20"), at("12:00:20"), 1)]
    assert leader.started() == [at("12:00:10"), at("12:00:30")]


@pytest.mark.parametrize("policy", ONE_AFTER_THE_OTHER)
def test_a_new_leader_goes_on_with_the_backlog(policy: str) -> None:
    leader = backlog(policy, count=3)
    run = leader.end_next()
    leader.take_over()
    leader.work()
    while leader.running():
        leader.end_next()
        leader.work()

    assert run.scheduled_time == at("12:00:10")
    assert leader.started() == [at("12:00:10"), at("12:00:20"), at("12:00:30")]
    assert leader.recorded() == []


@pytest.mark.parametrize("policy", ["queue_all", "allow"])
def test_a_queue_has_an_end_and_what_is_behind_it_still_runs(
    policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LONGEST_QUEUE", 3)
    leader = Leader(places=1)
    leader.write(coalesce=False, overlap_policy=policy)
    leader.away(seconds(100))
    leader.work()
    done = 0
    while leader.running():
        assert len(leader.waiting()) <= 3
        leader.end_next()
        leader.work()
        done += 1

    assert done == 10
    assert leader.started() == [NOON + seconds(10 * number) for number in range(1, 11)]


events = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 60)),
        st.tuples(st.just("away"), st.integers(1, 90)),
        st.tuples(st.just("finish"), st.sampled_from([RunState.SUCCESS, RunState.FAILED])),
        st.tuples(st.just("take over"), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=150)
@given(
    policy=st.sampled_from(list(OverlapPolicy)),
    instances=st.integers(1, 3),
    places=st.sampled_from([1, 2, 100]),
    grace=st.sampled_from([20.0, 300.0]),
    events=events,
)
def test_without_coalescing_every_instant_runs_or_is_recorded_once(
    policy: OverlapPolicy, instances: int, places: int, grace: float, events: list[tuple[str, object]]
) -> None:
    leader = Leader(places=places)
    leader.write(coalesce=False, overlap_policy=policy.value, max_instances=instances, misfire_grace_s=grace)
    for what, value in events:
        if what == "pass":
            leader.until(leader.now + seconds(int(str(value))))
        elif what == "away":
            leader.away(seconds(int(str(value))))
        elif what == "take over":
            leader.take_over()
        elif leader.running():
            leader.finish(leader.running()[0], RunState(str(value)))
        leader.work()
        assert policy is OverlapPolicy.ALLOW or len(leader.running()) <= instances
    while leader.running() or leader.waiting():
        leader.finish(leader.running()[0])
        leader.work()

    accounted = list({run.scheduled_time for run in leader.history})
    for _, first, through, count in leader.recorded():
        inside = [first + seconds(10 * number) for number in range(count)]
        assert inside[-1] == through
        accounted += inside
    assert sorted(accounted) == sorted(set(accounted)), "once"
    assert set(accounted) == instants(NOON, max([NOON, *accounted]))
    assert leader.now - max([NOON, *accounted]) < seconds(10), "all that is due"


def instants(after: datetime, through: datetime) -> set[datetime]:
    return {
        after + seconds(10 * number) for number in range(1, int((through - after).total_seconds()) // 10 + 1)
    }
