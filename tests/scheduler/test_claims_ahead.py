"""Due times that are claimed before they come: the same runs, at the same moments, whatever happens."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.core.types import RunState
from piko.decisions.effects import Withdraw
from piko.decisions.events import RowsChanged, Tick, Withdrawn
from piko.simulation.simulation import Simulation
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, row, seconds

TEN = NOON + seconds(10)


def claimed_ahead(**columns: object) -> Leader:
    """A leader that has claimed 12:00:10 two seconds before."""
    leader = Leader(row(**columns), ahead=2)  # type: ignore[arg-type]
    leader.until(NOON + seconds(8))
    assert [run.starts_at for run in leader.upcoming.values()] == [TEN]
    return leader


def begun(leader: Simulation) -> list[tuple[str, datetime, datetime]]:
    return [(run.job_id, run.scheduled_time, moment) for moment, run in leader.begun]


def passed_over(leader: Leader, job_id: str) -> list[tuple[str, datetime, datetime, int]]:
    """What did not run of a job: the state, first, last and number of due times with none that ran between.

    Each of them may be on record by itself, or together with those beside it.
    """
    alone = [run for run in leader.ends("SKIPPED") if run.job_id == job_id]
    items = [
        *leader.recorded(job_id),
        *(("SKIPPED", run.scheduled_time, run.scheduled_time, 1) for run in alone),
        *(("ran", due, due, 1) for job, due, _ in begun(leader) if job == job_id),
    ]
    merged: list[tuple[str, datetime, datetime, int]] = []
    for state, first, through, count in sorted(items, key=lambda item: item[1]):
        if merged and merged[-1][0] == state:
            merged[-1] = state, merged[-1][1], through, merged[-1][3] + count
        else:
            merged.append((state, first, through, count))
    return [item for item in merged if item[0] != "ran"]


# ---- laws -------------------------------------------------------------------------------------------

JOBS = ("one", "two", "three")
ENDS = (RunState.SUCCESS, RunState.FAILED)
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.sampled_from(JOBS), st.sampled_from([0.5, 1, 3, 8, 9.5, 10, 27])),
        st.tuples(st.just("end"), st.sampled_from(JOBS), st.sampled_from(ENDS)),
        st.tuples(st.just("pause"), st.sampled_from(JOBS), st.none()),
        st.tuples(st.just("resume"), st.sampled_from(JOBS), st.none()),
        st.tuples(st.just("every"), st.sampled_from(JOBS), st.sampled_from([2, 5, 10])),
        st.tuples(st.just("jitter"), st.sampled_from(JOBS), st.sampled_from([0.0, 3.0, 25.0])),
        st.tuples(st.just("timeout"), st.sampled_from(JOBS), st.sampled_from([5.0, 7.0])),
        st.tuples(st.just("delete"), st.sampled_from(JOBS), st.none()),
        st.tuples(st.just("take over"), st.sampled_from(JOBS), st.none()),
        st.tuples(st.just("edit while nobody leads"), st.sampled_from(JOBS), st.sampled_from([2, 5])),
    ),
    min_size=3,
    max_size=25,
)


def live(leader: Leader, what: str, job_id: str, value: object) -> None:
    there = job_id in leader.rows
    match what:
        case "pass":
            leader.until(leader.now + seconds(float(str(value))))
        case "end":
            mine = [run for run in leader.running() if run.job_id == job_id]
            if mine:
                assert isinstance(value, RunState)
                leader.finish(min(mine, key=lambda run: run.scheduled_time), value)
        case "pause" | "resume" if there:
            leader.edit(job_id, enabled=what == "resume")
        case "every":
            leader.write(job_id, {"seconds": value})
        case "jitter" | "timeout" if there:
            leader.edit(job_id, **{f"{what}_s": value})  # type: ignore[arg-type]
        case "delete" if there:
            leader.delete(job_id)
        case "take over":
            leader.take_over()
        case "edit while nobody leads":
            leader.write(job_id, {"seconds": value}, look=False)
            leader.take_over()
        case _:
            pass
    leader.work()


@settings(max_examples=150, deadline=None)
@given(
    ahead=st.sampled_from([0.4, 2.0, 60.0]),
    policy=st.sampled_from(["skip", "queue", "queue_all", "replace", "allow"]),
    coalesce=st.booleans(),
    instances=st.integers(1, 2),
    events=EVENTS,
)
def test_claims_ahead_change_nothing_that_a_handler_sees(
    ahead: float,
    policy: str,
    coalesce: bool,
    instances: int,
    events: list[tuple[str, str, object]],
) -> None:
    """What begins, when, and what is passed over, is the same as if each claim were made when it is due.

    While slots are free: a run that is claimed ahead has its slot from then on.
    """

    def lived(
        horizon: float,
    ) -> tuple[list[tuple[str, datetime, datetime]], list[list[tuple[str, datetime, datetime, int]]]]:
        leader = Leader(registered=JOBS, ahead=horizon)
        for job_id in JOBS:
            leader.write(
                job_id, coalesce=coalesce, overlap_policy=policy, max_instances=instances, misfire_grace_s=15
            )
        for event in events:
            live(leader, *event)
            assert all(moment >= run.scheduled_time for moment, run in leader.begun)
        return sorted(begun(leader)), [passed_over(leader, job_id) for job_id in JOBS]

    assert lived(ahead) == lived(0)


@settings(max_examples=100, deadline=None)
@given(ahead=st.sampled_from([0.4, 2.0, 60.0]), events=EVENTS)
def test_a_due_time_is_held_by_one_run_and_no_run_that_was_taken_back_begins(
    ahead: float, events: list[tuple[str, str, object]]
) -> None:
    leader = Leader(registered=JOBS, ahead=ahead)
    for job_id in JOBS:
        leader.write(job_id)
    for event in events:
        live(leader, *event)
        waiting = list(leader.upcoming.values())
        assert len({run.due_time for run in waiting}) == len(waiting)
        assert max(Counter(run.job_id for run in waiting).values(), default=0) <= 64
        assert all(run.starts_after(leader.now) for run in waiting)
    taken_back = {run.run_id for run in leader.ends("CANCELLED")}
    assert taken_back.isdisjoint(run.run_id for _, run in leader.begun)
    assert len({(job_id, due) for job_id, due, _ in begun(leader)}) == len(leader.begun)


# ---- one by one -------------------------------------------------------------------------------------


def test_what_is_due_within_the_horizon_is_claimed_and_begins_at_its_instant() -> None:
    leader = claimed_ahead()
    (run,) = leader.history
    assert (run.state, run.scheduled_time, run.starts_at) == (RunState.RUNNING, TEN, TEN)
    assert leader.stored().cursor_at == TEN
    leader.until(TEN)
    assert begun(leader) == [("job", TEN, TEN)]


def test_jitter_moves_the_start_of_what_is_claimed_ahead() -> None:
    leader = Leader(row(expression={"minutes": 1}, jitter_s=20), ahead=60)
    leader.until(NOON + seconds(85))
    ((_, due, moment),) = begun(leader)
    assert due == at("12:01:00")
    assert due < moment < due + seconds(20)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"enabled": False}, "its schedule was paused"),
        ({"timeout_s": 5.0}, "its row was changed"),
        ({"schedule_expr": '{"seconds": 7}'}, "its row was changed"),
    ],
)
def test_an_edit_takes_an_unstarted_claim_back(columns: dict[str, object], why: str) -> None:
    effects: list[object] = []
    leader = claimed_ahead()
    leader._observe = effects.append
    leader.edit(**columns)  # type: ignore[arg-type]
    ((item,),) = [each.withdrawals for each in effects if isinstance(each, Withdraw)]
    assert why in item.why
    assert [run.scheduled_time for run in leader.ends("CANCELLED")] == [TEN]
    assert not leader.upcoming
    assert leader.stored().cursor_at in (NOON, leader.now), "a changed schedule begins at its edit"


def test_a_due_time_that_was_taken_back_runs_under_the_new_row() -> None:
    leader = claimed_ahead()
    leader.edit(timeout_s=5.0)
    leader.until(TEN)
    assert begun(leader) == [("job", TEN, TEN)]
    (run,) = leader.running()
    job = leader._jobs[run.run_id]
    assert (job.timeout_s, run.attempt) == (5.0, 1)


@pytest.mark.parametrize(("of_window", "of_plain"), [(2, 0), (0, 0), (0, 2)])
def test_the_last_slot_is_left_to_what_comes_due_meanwhile_with_a_higher_priority(
    of_window: int, of_plain: int
) -> None:
    leader = Leader(
        row("window", priority=of_window, last_data_time=NOON),
        row("plain", priority=of_plain),
        stateful=["window"],
        places=1,
        ahead=2,
    )
    leader.until(TEN)
    assert [run.job_id for _, run in leader.begun] == ["window" if of_window > of_plain else "plain"]


def test_a_paused_job_starts_nothing_that_was_claimed_ahead() -> None:
    leader = claimed_ahead()
    leader.edit(enabled=False)
    leader.until(NOON + seconds(60))
    assert leader.begun == []


def test_a_deleted_job_starts_nothing_and_a_new_row_goes_on_before_the_claim() -> None:
    leader = claimed_ahead()
    leader.delete()
    assert [run.scheduled_time for run in leader.ends("CANCELLED")] == [TEN]
    leader.write(created_at=leader.now)
    leader.until(TEN)
    assert begun(leader) == [("job", TEN, TEN)]


def test_an_edit_after_the_start_takes_nothing_back() -> None:
    leader = claimed_ahead()
    leader.until(TEN)
    leader.edit(timeout_s=5.0)
    assert leader.ends("CANCELLED") == []
    assert [run.scheduled_time for run in leader.running()] == [TEN]


def test_a_row_that_is_read_again_unchanged_takes_nothing_back() -> None:
    leader = claimed_ahead()
    leader.take_in({"job"}, leader.now)
    assert len(leader.upcoming) == 1


def test_the_next_leader_starts_what_had_not_begun_under_the_same_attempt() -> None:
    leader = claimed_ahead()
    ((run_id, _),) = leader.upcoming.items()
    leader.take_over()
    leader.until(TEN)
    ((moment, run),) = leader.begun
    assert (moment, run.run_id, run.attempt, run.scheduled_time) == (TEN, run_id, 1, TEN)


@pytest.mark.parametrize("terms", [1, 2, 3])
def test_an_edit_takes_back_what_a_leader_before_has_claimed_ahead(terms: int) -> None:
    leader = claimed_ahead()
    for _ in range(terms):
        leader.take_over()
    leader.write(expression={"seconds": 1})
    leader.until(TEN)
    assert [moment for _, _, moment in begun(leader)] == [TEN - seconds(1)], "it still runs at ten"


@pytest.mark.parametrize("terms", [1, 2])
def test_an_edit_while_nobody_leads_takes_back_what_was_claimed_ahead(terms: int) -> None:
    leader = claimed_ahead()
    leader.take_over()
    leader.write(expression={"seconds": 1}, look=False)
    for _ in range(terms):
        leader.take_over()
    leader.until(TEN)
    assert [moment for _, _, moment in begun(leader)] == [TEN - seconds(1)], "it still runs at ten"


def test_a_claim_that_cannot_be_taken_back_yet_starts_nothing_and_is_tried_again() -> None:
    leader = claimed_ahead()
    (run,) = leader.upcoming.values()
    leader.edit(enabled=False, look=False)
    (effect,) = leader.leader.step(RowsChanged(job_ids=["job"], now=leader.now))
    assert isinstance(effect, Withdraw)
    held = Withdrawn(
        withdrawals=effect.withdrawals, won=(), begun=(), left_out={"job"}, now=leader.now
    )  # somebody holds its rows
    assert leader.leader.step(held) == []
    leader.edit(enabled=True, look=False)  # as it was before, but the run does not start any more
    again = leader.leader.step(RowsChanged(job_ids=["job"], now=TEN + seconds(5)))
    assert [item.run for each in again if isinstance(each, Withdraw) for item in each.withdrawals] == [run]


def instants(leader: Leader) -> list[datetime]:
    return sorted(run.scheduled_time for run in leader.upcoming.values())


def test_a_horizon_longer_than_the_interval_claims_several_due_times_of_a_job() -> None:
    leader = Leader(row(expression={"seconds": 1}), ahead=4)
    leader.work()
    assert instants(leader) == [NOON + seconds(number) for number in (1, 2, 3, 4)]
    assert leader.stored().cursor_at == NOON + seconds(4)
    for _ in range(10):
        leader.until(leader.now + seconds(1))
        leader.end_next()
        leader.work()
    assert [moment - due for _, due, moment in begun(leader)] == [seconds(0)] * 10


def test_so_many_due_times_of_a_job_are_claimed_ahead_at_most() -> None:
    leader = Leader(row(expression={"seconds": 0.1}), ahead=60)
    leader.work()
    assert len(leader.upcoming) == 64


def test_a_due_time_that_was_claimed_is_skipped_where_the_run_before_it_goes_on() -> None:
    leader = Leader(row(expression={"seconds": 1}), ahead=3)
    leader.until(NOON + seconds(3))
    leader.end_next()
    leader.until(NOON + seconds(4))
    assert [due for _, due, _ in begun(leader)] == [NOON + seconds(1), NOON + seconds(4)]
    assert passed_over(leader, "job") == [("SKIPPED", NOON + seconds(2), NOON + seconds(3), 2)]
    assert leader.database.in_state(RunState.SKIPPED)[0].scheduled_time == NOON + seconds(2)


def test_of_several_that_come_late_together_the_newest_runs() -> None:
    leader = Leader(row(expression={"seconds": 1}), ahead=3)
    leader.work()
    leader.now = NOON + seconds(3.5)  # the process stood still
    leader.work()
    assert [due for _, due, _ in begun(leader)] == [NOON + seconds(3)]
    assert passed_over(leader, "job") == [("SKIPPED", NOON + seconds(1), NOON + seconds(2), 2)]


@pytest.mark.parametrize(
    ("columns", "most"),
    [
        ({"overlap_policy": "skip"}, 5),
        ({"overlap_policy": "allow"}, 5),
        ({"overlap_policy": "skip", "coalesce": False}, 1),
        ({"overlap_policy": "queue"}, 1),
        ({"overlap_policy": "queue_all"}, 1),
        ({"overlap_policy": "replace"}, 1),
        ({"overlap_policy": "replace", "max_instances": 3}, 3),
        ({"overlap_policy": "queue_all", "max_instances": 3}, 3),
    ],
)
def test_no_more_is_claimed_ahead_than_what_starts_or_is_left_out_whatever_the_runs_before_it_do(
    columns: dict[str, object], most: int
) -> None:
    leader = Leader(row(expression={"seconds": 1}, **columns), ahead=5)  # type: ignore[arg-type]
    leader.work()
    assert instants(leader) == [NOON + seconds(number) for number in range(1, most + 1)]


def test_due_times_of_a_job_that_run_one_after_the_other_need_one_slot() -> None:
    leader = Leader(row("one", expression={"seconds": 1}), row("two"), places=2, ahead=9)
    leader.until(NOON + seconds(1))
    assert Counter(run.job_id for run in leader.upcoming.values()) == {"one": 9, "two": 1}


def test_due_times_that_may_run_beside_each_other_leave_a_slot_to_every_other_job() -> None:
    one = row("one", expression={"seconds": 1}, overlap_policy="allow")
    leader = Leader(one, row("two"), row("three"), places=5, ahead=5)
    leader.work()
    assert [run.job_id for run in leader.upcoming.values()] == ["one"] * 2


def test_an_edit_takes_back_all_that_is_claimed_ahead_and_has_not_begun() -> None:
    leader = Leader(row(expression={"seconds": 1}), ahead=3)
    leader.until(NOON + seconds(1))
    leader.end_next()
    leader.until(NOON + seconds(1.5))
    leader.write(expression={"seconds": 2})
    leader.until(NOON + seconds(4))
    assert [run.scheduled_time for run in leader.ends("CANCELLED")] == [
        NOON + seconds(number) for number in (2, 3, 4)
    ]
    assert [due for _, due, _ in begun(leader)] == [NOON + seconds(1), NOON + seconds(2)]


def test_the_next_leader_starts_each_that_had_not_begun_under_the_same_attempt() -> None:
    leader = Leader(row(expression={"seconds": 1}), ahead=3)
    leader.work()
    ids = [run.run_id for run in leader.upcoming.values()]
    leader.take_over()
    for _ in ids:
        leader.until(leader.now + seconds(1))
        leader.end_next()
    assert [run.run_id for _, run in leader.begun] == ids
    assert {run.attempt for _, run in leader.begun} == {1}


def test_after_a_change_of_leader_a_due_time_is_skipped_where_the_run_before_it_goes_on() -> None:
    leader = Leader(row(expression={"seconds": 1}), ahead=3)
    leader.until(NOON + seconds(1))
    leader.take_over()
    leader.until(NOON + seconds(3.5))
    assert [due for _, due, _ in begun(leader)] == [NOON + seconds(1)]
    assert passed_over(leader, "job") == [("SKIPPED", NOON + seconds(2), NOON + seconds(3), 2)]


@pytest.mark.parametrize(
    "columns", [{"concurrency_group": "g", "concurrency_limit": 5}, {"end_at": NOON + seconds(15)}]
)
def test_what_may_still_be_decided_otherwise_is_claimed_when_it_is_due(columns: dict[str, object]) -> None:
    leader = Leader(row(**columns), ahead=5)  # type: ignore[arg-type]
    leader.until(NOON + seconds(9.9))
    assert leader.history == []
    leader.until(TEN)
    assert begun(leader) == [("job", TEN, TEN)]


def test_windows_are_claimed_when_they_are_due() -> None:
    leader = Leader(row(), stateful=["job"], ahead=5)
    leader.until(NOON + seconds(9.9))
    assert leader.history == []


def kept_from_its_start(leader: Leader, *, turns: bool) -> Leader:
    """12:00:10 may begin at 12:00:33 only; meanwhile the leader's loop has its `turns`, or waits, too."""
    leader.suspended = True
    if turns:
        leader.until(at("12:00:33"))
    leader.now = at("12:00:33")
    assert begun(leader) == []
    leader.suspended = False
    leader.work()
    return leader


@pytest.mark.parametrize("turns", [True, False])
@pytest.mark.parametrize("policy", ["skip", "queue", "replace"])
def test_what_comes_due_while_a_claimed_run_cannot_begin_overlaps_with_none(policy: str, turns: bool) -> None:
    leader = kept_from_its_start(claimed_ahead(coalesce=False, overlap_policy=policy), turns=turns)
    for _ in range(3):
        leader.until(leader.now + seconds(2))
        leader.end_next()
        leader.work()

    assert leader.started()[:3] == [TEN, at("12:00:20"), at("12:00:30")]
    assert passed_over(leader, "job") == []
    assert leader.cancelled == {}


@pytest.mark.parametrize("turns", [True, False])
def test_of_what_comes_due_while_a_claimed_run_cannot_begin_the_newest_runs(turns: bool) -> None:
    leader = kept_from_its_start(claimed_ahead(), turns=turns)

    assert [due for _, due, _ in begun(leader)] == [at("12:00:30")]
    assert passed_over(leader, "job") == [("SKIPPED", TEN, at("12:00:20"), 2)]


def test_a_job_in_progress_is_judged_when_its_next_instant_comes() -> None:
    leader = Leader(row(), ahead=5)
    leader.until(NOON + seconds(19.9))
    assert len(leader.history) == 1
    leader.end_next()  # now nothing can overlap any more
    leader.work()
    assert [run.starts_at for run in leader.upcoming.values()] == [NOON + seconds(20)]


def test_without_a_free_slot_nothing_is_claimed_ahead() -> None:
    leader = Leader(row("one"), row("two"), places=1, ahead=5)
    leader.until(NOON + seconds(9))
    assert len(leader.upcoming) == 1
    assert len(leader.history) == 1


def test_the_next_turn_comes_before_the_instant_by_the_horizon() -> None:
    leader = Leader(row(), now=NOON)
    assert leader.leader.next_moment(NOON, ahead=seconds(3)) == NOON + seconds(7)
    leader.leader.step(Tick(stage=0, now=NOON + seconds(7), ahead=seconds(3)))
    moment = leader.leader.next_moment(NOON + seconds(7), ahead=seconds(3))
    assert moment is None or moment > NOON + seconds(7), "a leader that finds nothing to do rests"
