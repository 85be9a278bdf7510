"""What holds whatever happens: a leader and a model of the database live through random days."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from piko.core.types import BackfillPolicy, JobStatus, RunState
from tests.catalog.test_configs import config
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, definition, seconds

ENDS = st.tuples(st.just("end"), st.sampled_from([RunState.SUCCESS, RunState.SUCCESS, RunState.FAILED]))
PASSES = st.tuples(st.just("pass"), st.integers(1, 45))
AWAY = st.tuples(st.just("away"), st.integers(1, 400))


def live(leader: Leader, what: str, value: object) -> None:
    """One event of a day."""
    if what == "pass":
        leader.until(leader.now + seconds(value))  # type: ignore[arg-type]
    elif what == "away":
        leader.away(seconds(value))  # type: ignore[arg-type]
        leader.work()
    elif leader.running():
        assert isinstance(value, RunState)
        leader.finish(min(leader.running(), key=lambda run: run.scheduled_time), value)
        leader.work()


def instants(leader: Leader) -> list[datetime]:
    """Every instant that was passed over, one by one; the schedule is a grid of ten seconds."""
    passed: list[datetime] = []
    for _, first, through, count in leader.recorded():
        span = [first + seconds(10 * step) for step in range(count)]
        assert span[-1] == through
        passed.extend(span)
    return passed


@settings(max_examples=80)
@example(
    policy="queue",
    coalesce=False,
    instances=3,
    jitter=0.0,
    grace=15.0,
    places=1,
    ahead=0.0,
    events=[*[("pass", 1)] * 6, ("pass", 4), ("away", 30)],
)
@given(
    policy=st.sampled_from(["skip", "queue", "queue_all", "replace", "allow"]),
    coalesce=st.booleans(),
    instances=st.integers(1, 3),
    jitter=st.sampled_from([0.0, 3.0, 25.0]),
    grace=st.sampled_from([0.0, 15.0, 300.0]),
    places=st.sampled_from([1, 2, 1000]),
    ahead=st.sampled_from([0.0, 2.0, 30.0]),
    events=st.lists(st.one_of(PASSES, AWAY, ENDS), min_size=3, max_size=25),
)
def test_every_instant_runs_or_is_recorded_once(
    policy: str,
    coalesce: bool,
    instances: int,
    jitter: float,
    grace: float,
    places: int,
    ahead: float,
    events: list[tuple[str, object]],
) -> None:
    leader = Leader(places=places, ahead=ahead)
    leader.write(
        coalesce=coalesce,
        overlap_policy=policy,
        max_instances=instances,
        jitter_s=jitter,
        misfire_grace_s=grace,
    )
    for what, value in events:
        live(leader, what, value)
        assert len(leader.running()) <= places
        assert policy == "allow" or len(leader.running()) <= instances
        assert policy != "queue" or len(leader.progress.due_waiting_of("job")) <= 1
    while leader.running():  # what is left of a backlog waits for its turn
        leader.finish(leader.running()[0])
        leader.work()
    claimed = {run.scheduled_time for run in leader.history}
    passed = instants(leader)
    assert len(passed) == len(set(passed)), "an instant is passed over twice"
    assert not claimed.intersection(passed), "an instant is both claimed and passed over"
    cursor = leader.stored().cursor_at
    assert cursor is not None
    every = {NOON + seconds(10 * step) for step in range(1, (cursor - NOON) // seconds(10) + 1)}
    assert claimed.union(passed) == every
    assert cursor > leader.now - seconds(10 + jitter), "an instant whose moment has come is left alone"


@pytest.mark.parametrize("policy", ["skip", "queue", "queue_all", "replace", "allow"])
def test_nothing_waits_for_ever(policy: str) -> None:
    leader = Leader(places=1)
    leader.write(overlap_policy=policy, coalesce=False)
    leader.away(seconds(95))
    leader.work()
    leader.edit(enabled=False)
    for _ in range(20):
        leader.work()
        if leader.running():
            leader.end_next()
    assert not leader.running()
    assert not leader.waiting()


WINDOW_EVENTS = st.lists(
    st.one_of(
        PASSES,
        AWAY,
        ENDS,
        ENDS,
        st.tuples(st.just("reread"), st.none()),
        st.tuples(st.just("set"), st.integers(-12, 3)),
        st.tuples(st.just("pause"), st.integers(1, 40)),
    ),
    min_size=3,
    max_size=30,
)


@settings(max_examples=120)
@given(
    policy=st.sampled_from(list(BackfillPolicy)),
    bound=st.sampled_from([None, 1, 3]),
    lookback=st.sampled_from([None, 45.0]),
    attempts=st.integers(1, 2),
    events=WINDOW_EVENTS,
)
def test_windows_of_a_stateful_job_meet_and_keep_their_order(
    policy: BackfillPolicy,
    bound: int | None,
    lookback: float | None,
    attempts: int,
    events: list[tuple[str, object]],
) -> None:
    leader = Leader(definitions=[definition(stateful=True, backfill_policy=policy)])
    leader.write(
        backfill_max_windows=bound, max_lookback_s=lookback, max_attempts=attempts, retry_backoff_s=7.0
    )
    for what, value in events:
        before = leader.watermark()
        if what == "reread":
            leader.reread()
        elif what == "set":
            leader.set_watermark(leader.now.replace(second=0) + seconds(10 * int(str(value))))
            before = leader.watermark()
        elif what == "pause":
            leader.edit(enabled=False, last_data_time=before)
            leader.until(leader.now + seconds(int(str(value))))
            leader.edit(enabled=True, last_data_time=leader.watermark())
        else:
            live(leader, what, value)
        assert len(leader.running()) + len(leader.waiting()) <= 1, "windows run one after the other"
        after = leader.watermark()
        assert before is None or (after is not None and after >= before), "only people set it back"
        for run in leader.running():
            assert run.window is not None
            assert run.window.end == run.scheduled_time <= leader.now
    settle(leader)
    latest = leader.now - timedelta(microseconds=leader.now.microsecond, seconds=leader.now.second % 10)
    watermark = leader.watermark()
    assert watermark is not None
    assert watermark >= latest, "what is missing is made up for"
    assert successes_meet(leader)


def settle(leader: Leader) -> None:
    """From now on everything succeeds: two more instants must be enough."""
    leader.reread()
    for _ in range(2):
        leader.until(leader.now + seconds(10))
        while leader.running():
            leader.end_next()
            leader.work()


def successes_meet(leader: Leader) -> bool:
    """Whether between two windows that succeeded nothing is left out that is not recorded."""
    done = [run.window for run in leader.history if run.state is RunState.SUCCESS and run.window is not None]
    return all(earlier.end == later.start or later.start in leader.jumps for earlier, later in pairwise(done))


def test_a_backlog_is_run_oldest_first_and_to_its_end() -> None:
    leader = Leader(definitions=[definition(stateful=True)])
    leader.write(last_data_time=at("11:58:20"), updated_at=at("11:58:20"))
    leader.until(NOON)
    ends = []
    while leader.running():
        ends.append(leader.end_next().scheduled_time)
        leader.work()
    assert ends == [at("11:58:20") + seconds(10 * step) for step in range(1, 11)]
    assert leader.watermark() == NOON
    assert leader.recorded() == []


class Target(BaseModel):
    table: str


def test_instants_without_a_config_are_judged_when_it_comes() -> None:
    leader = Leader(definitions=[definition(schema=Target)])
    leader.write(expression={"seconds": 10}, misfire_grace_s=15)
    leader.until(NOON + seconds(35))
    assert not leader.history
    state = leader.stored()
    assert (state.status, state.next_run_at) == (JobStatus.WAITING_FOR_CONFIG, None)
    assert "table: Field required" in (state.message or "")
    leader.configs.observe([config({"table": "t"}, when=leader.now)])
    leader.work()
    assert [run.scheduled_time for run in leader.history] == [NOON + seconds(30)]
    assert [(state, count) for state, _, _, count in leader.recorded()] == [
        ("MISSED", 1),
        ("SKIPPED", 1),
    ]
    assert (leader.stored().status, leader.stored().message) == (JobStatus.SCHEDULED, None)


def test_a_job_whose_config_is_deleted_waits_from_its_next_instant() -> None:
    leader = Leader(definitions=[definition(schema=Target)])
    leader.configs.observe([config({"table": "t"}, when=NOON)])
    leader.write(expression={"seconds": 10})
    leader.until(NOON + seconds(10))
    leader.end_next()
    leader.configs.drop(["job"])
    leader.until(NOON + seconds(20))
    leader.work()
    assert len({run.run_id for run in leader.history}) == 1
    assert leader.stored().status == JobStatus.WAITING_FOR_CONFIG
