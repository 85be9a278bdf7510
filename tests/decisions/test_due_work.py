"""What a leader claims and starts of what comes due, and what follows when runs end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from piko.core.types import JobStatus, RunState, TriggerType
from piko.decisions.effects import Claim
from piko.decisions.events import Claimed, RemoteRunsRead, Tick, UnknownRunsFound
from piko.model.runs import Run
from piko.schedule import start_offset
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, row, seconds


def times(runs: Sequence[Run]) -> list[datetime]:
    return [run.scheduled_time for run in runs]


def passed_over(leader: Leader) -> list[tuple[str, datetime, datetime, int]]:
    return [(item.state.value, item.first, item.through, item.count) for item, _ in leader.skipped]


def missed(leader: Leader, reason: str, job_id: str = "job") -> float:
    return leader.missed[job_id, reason]


def left_out(leader: Leader, reason: str, job_id: str = "job") -> float:
    return leader.left_out[job_id, reason]


# ---- rows -------------------------------------------------------------------------------------------


def test_a_new_schedule_fires_from_the_next_instant_on() -> None:
    leader = Leader(row())

    assert leader.state().next_run_at == at("12:00:10")
    assert leader.tick(at("12:00:09")) == []
    assert times(leader.tick(at("12:00:10"))) == [at("12:00:10")]


def test_a_leader_that_comes_late_makes_up_for_what_lies_after_the_edit() -> None:
    leader = Leader(row(updated_at=at("11:59:55")), now=at("12:00:02"))

    assert times(leader.tick(at("12:00:02"))) == [NOON]


def test_a_clock_of_the_database_that_is_ahead_does_not_hide_instants() -> None:
    leader = Leader(row(updated_at=at("12:30:00")))

    assert times(leader.tick(at("12:00:10"))) == [at("12:00:10")]


def test_a_changed_schedule_fires_nothing_from_before_the_change() -> None:
    leader = Leader(row(expression={"hours": 1}))
    leader.put(row(expression={"seconds": 1}, updated_at=at("12:20:00")), at("12:20:00.500"))

    assert leader.state().next_run_at == at("12:20:01")
    assert times(leader.tick(at("12:20:01"))) == [at("12:20:01")]
    assert passed_over(leader) == []


def test_a_schedule_that_was_edited_a_moment_ago_is_not_fired_by_the_cursor_before() -> None:
    leader = Leader(row(expression={"minutes": 10}))
    leader.learn(row(expression={"minutes": 1}, updated_at=at("12:09:59")))

    assert leader.tick(at("12:10:00")) == []
    leader.take_in({"job"}, at("12:10:00"))
    assert times(leader.tick(at("12:10:00"))) == [at("12:10:00")]
    assert passed_over(leader) == []


def test_an_enabled_schedule_fires_nothing_from_before_it_was_enabled() -> None:
    leader = Leader(row())
    leader.put(row(enabled=False, updated_at=at("12:00:05")), at("12:00:05"))
    assert leader.state().status == JobStatus.DISABLED
    assert leader.state().next_run_at is None
    assert leader.tick(at("12:05:00")) == []

    leader.put(row(updated_at=at("12:05:03")), at("12:05:03.500"))
    assert times(leader.tick(at("12:05:10"))) == [at("12:05:10")]
    assert passed_over(leader) == []


def test_a_row_that_was_disabled_under_another_leader_begins_anew_too() -> None:
    disabled = Leader(row(enabled=False)).state()
    leader = Leader(row(updated_at=at("12:05:03")), states={"job": disabled}, now=at("12:05:04"))

    assert times(leader.tick(at("12:05:10"))) == [at("12:05:10")]
    assert passed_over(leader) == []


def test_the_next_leader_goes_on_where_the_one_before_stopped() -> None:
    before = Leader(row(coalesce=False))
    before.tick(at("12:00:10"))
    after = Leader(row(coalesce=False), states={"job": before.state()}, now=at("12:00:35"))

    (run,) = after.tick(at("12:00:35"))
    assert run.scheduled_time == at("12:00:20")
    after.end(run, now=at("12:00:36"))
    assert times(after.tick(at("12:00:36"))) == [at("12:00:30")]
    assert passed_over(after) == []


def test_an_invalid_row_stops_the_job_and_a_repair_begins_anew() -> None:
    leader = Leader(row())
    leader.put(row(schedule_expr='{"seconds": -1}'), at("12:00:05"))
    assert leader.state().status == JobStatus.INVALID
    assert leader.state().message
    assert leader.tick(at("12:01:00")) == []

    leader.put(row(updated_at=at("12:01:01")), at("12:01:02"))
    assert leader.tick(at("12:01:02")) == []
    assert (leader.state().status, leader.state().message) == (JobStatus.SCHEDULED, None)


def test_an_unregistered_job_keeps_its_place_until_its_code_is_back() -> None:
    before = Leader(row())
    before.tick(at("12:00:10"))
    without = Leader(row(), registered=(), states={"job": before.state()}, now=at("12:00:15"))
    assert without.state().status == JobStatus.UNREGISTERED
    assert without.tick(at("12:01:00")) == []

    back = Leader(row(), states={"job": without.state()}, now=at("12:01:00"))
    assert times(back.tick(at("12:01:00"))) == [at("12:01:00")]
    assert passed_over(back) == [("SKIPPED", at("12:00:20"), at("12:00:50"), 4)]


def test_a_deleted_row_fires_no_more_and_its_state_is_kept() -> None:
    leader = Leader(row())
    leader.delete("job", at("12:00:05"))

    assert leader.deleted == ["job"]
    assert leader.leader.agenda.states == {}
    assert leader.tick(at("12:01:00")) == []


def test_a_row_that_went_away_between_leaders_is_marked_once() -> None:
    state = Leader(row()).state()

    assert Leader(states={"ghost": state}).deleted == ["ghost"]
    assert Leader(states={"ghost": replace(state, row_gone_at=at("12:00:05"))}).deleted == []


def test_only_states_that_differ_are_written() -> None:
    leader = Leader(row())
    assert [state.job_id for state in leader.written] == ["job"]

    leader.take_in({"job"}, at("12:00:01"))
    assert leader.written == []


def test_a_date_fires_once_and_is_completed() -> None:
    leader = Leader(row(expression={"run_date": "2026-03-02T12:30:00Z"}))

    assert times(leader.tick(at("12:30:00"))) == [at("12:30:00")]
    assert leader.plan.batch.completed == {"job"}
    assert leader.state().status == JobStatus.COMPLETED
    assert leader.tick(at("13:30:00")) == []


def test_a_date_that_is_long_past_is_missed_and_completed() -> None:
    leader = Leader(row(expression={"run_date": "2026-03-02T12:30:00Z"}))

    assert leader.tick(at("14:00:00")) == []
    assert passed_over(leader) == [("MISSED", at("12:30:00"), at("12:30:00"), 1)]
    assert leader.plan.batch.completed == {"job"}


def test_a_schedule_that_has_ended_says_so() -> None:
    leader = Leader(row(end_at=at("12:00:10")))
    leader.tick(at("12:00:10"))

    assert leader.state().status == JobStatus.COMPLETED
    assert "never fires after 2026-03-02T12:00:10Z" in (leader.state().message or "")
    assert leader.state().next_run_at is None


def test_jitter_moves_the_start_and_not_the_scheduled_time() -> None:
    leader = Leader(row(expression={"minutes": 1}, jitter_s=30.0))
    offset = start_offset(job_id="job", scheduled_time=at("12:01:00"), jitter_s=30.0)
    assert offset > seconds(0)

    assert leader.state().next_run_at == at("12:01:00")
    assert leader.tick(at("12:01:00")) == []
    assert leader.earliest == at("12:01:00") + offset
    assert times(leader.tick(at("12:01:00") + offset)) == [at("12:01:00")]


def test_a_claim_that_another_has_made_is_not_started_and_not_tried_again() -> None:
    leader = Leader(row())

    assert leader.tick(at("12:00:10"), lost={"job"}) == []
    assert leader.tick(at("12:00:11")) == []
    assert times(leader.tick(at("12:00:20"))) == [at("12:00:20")]


def test_missed_instants_are_counted_once_they_are_recorded() -> None:
    leader = Leader(row(misfire_grace_s=15.0))
    decided = leader.leader.step(Tick(stage=0, now=at("12:01:00")))
    (claim,) = (effect for effect in decided if isinstance(effect, Claim))
    assert missed(leader, "misfire") == 0

    won = {run.run_id: run for run in claim.batch.runs}
    leader.feed(Claimed(claim=claim, won=won, now=at("12:01:00")))
    assert (missed(leader, "misfire"), left_out(leader, "coalesced")) == (4, 1)
    assert missed(leader, "coalesced") == 0, "what the row wants is no reason for an alert"


# ---- overlap ----------------------------------------------------------------------------------------


def test_skip_records_the_instant_that_finds_its_job_running() -> None:
    leader = Leader(row())
    leader.tick(at("12:00:10"))

    assert leader.tick(at("12:00:20")) == []
    assert passed_over(leader) == [("SKIPPED", at("12:00:20"), at("12:00:20"), 1)]
    assert "overlap_policy = skip" in leader.skipped[0][0].reason
    assert left_out(leader, "overlap") == 1


def test_a_job_runs_as_often_at_once_as_it_may() -> None:
    leader = Leader(row(max_instances=2))

    assert len(leader.tick(at("12:00:10"))) == 1
    assert len(leader.tick(at("12:00:20"))) == 1
    assert leader.tick(at("12:00:30")) == []


def test_queue_lets_the_newest_wait() -> None:
    leader = Leader(row(overlap_policy="queue"))
    (first,) = leader.tick(at("12:00:10"))
    assert leader.tick(at("12:00:20")) == []
    assert leader.tick(at("12:00:30")) == []
    assert times(leader.plan.superseded) == [at("12:00:20")]
    assert left_out(leader, "superseded") == 1
    assert times(list(leader.progress.waiting.values())) == [at("12:00:30")]

    leader.end(first, now=at("12:00:31"))
    assert times(leader.tick(at("12:00:31"))) == [at("12:00:30")]


def test_queue_all_runs_each_in_order() -> None:
    leader = Leader(row(overlap_policy="queue_all"))
    (running,) = leader.tick(at("12:00:10"))
    leader.tick(at("12:00:20"))
    leader.tick(at("12:00:30"))
    started = []
    for _ in range(2):
        leader.end(running, now=at("12:00:31"))
        (running,) = leader.tick(at("12:00:31"))
        started.append(running.scheduled_time)

    assert started == [at("12:00:20"), at("12:00:30")]


def test_replace_cancels_the_running_one_and_starts_when_it_has_ended() -> None:
    leader = Leader(row(overlap_policy="replace"))
    (first,) = leader.tick(at("12:00:10"))
    assert leader.tick(at("12:00:20")) == []
    assert leader.plan.replaced == [first]

    leader.end(first, RunState.CANCELLED, at("12:00:21"))
    assert times(leader.tick(at("12:00:21"))) == [at("12:00:20")]


def test_allow_starts_however_many_run() -> None:
    leader = Leader(row(overlap_policy="allow"))

    assert [len(leader.tick(at(f"12:00:{second}"))) for second in (10, 20, 30)] == [1, 1, 1]


def test_each_of_a_backlog_runs_as_many_at_once_as_may() -> None:
    leader = Leader(row(coalesce=False, max_instances=2))
    first, second = leader.tick(at("12:00:40"))

    assert times([first, second]) == [at("12:00:10"), at("12:00:20")]
    assert passed_over(leader) == []
    assert leader.tick(at("12:00:41")) == []
    leader.end(first, now=at("12:00:42"))
    assert times(leader.tick(at("12:00:42"))) == [at("12:00:30")]
    leader.end(second, now=at("12:00:43"))
    assert times(leader.tick(at("12:00:43"))) == [at("12:00:40")]


def test_a_run_that_has_ended_gives_up_its_place_before_that_is_recorded() -> None:
    leader = Leader(row())
    (run,) = leader.tick(at("12:00:10"))
    leader.progress.end(run.run_id)

    assert leader.progress.busy("job")
    assert [run.scheduled_time for run in leader.tick(at("12:00:20"))] == [at("12:00:20")]


def test_a_superseded_run_does_not_come_back_with_a_late_reading_of_the_queue() -> None:
    leader = Leader(row(overlap_policy="queue"))
    leader.tick(at("12:00:10"))
    leader.tick(at("12:00:20"))
    (waits,) = leader.progress.waiting.values()
    leader.tick(at("12:00:30"))
    leader.progress.enqueue([waits])

    assert times(list(leader.progress.waiting.values())) == [at("12:00:30")]


# ---- slots -------------------------------------------------------------------------------------------


def test_a_group_shares_its_lowest_limit() -> None:
    jobs = {f"job-{n}": 2 if n == 1 else None for n in range(4)}
    leader = Leader(
        *(row(job_id, concurrency_group="g", concurrency_limit=limit) for job_id, limit in jobs.items())
    )
    started = leader.tick(at("12:00:10"))
    assert len(started) == 2
    assert len(leader.progress.waiting) == 2

    leader.end(started[0], now=at("12:00:11"))
    assert len(leader.tick(at("12:00:11"))) == 1


def test_a_replica_runs_no_more_than_it_may() -> None:
    leader = Leader(*(row(f"job-{n}") for n in range(5)), places=3)

    assert len(leader.tick(at("12:00:10"))) == 3
    assert len(leader.progress.waiting) == 2


def test_what_is_due_together_starts_by_priority() -> None:
    leader = Leader(row("low", priority=-5), row("high", priority=9), row("middle"), places=2)

    assert [run.job_id for run in leader.tick(at("12:00:10"))] == ["high", "middle"]


def test_what_waits_starts_by_priority_and_then_by_age() -> None:
    leader = Leader(
        row("full"),
        row("old", {"seconds": 7}),
        row("new", {"seconds": 8}),
        row("urgent", priority=1),
        places=1,
    )
    (running,) = leader.tick(at("12:00:07"))
    assert running.job_id == "old"
    leader.database.put(
        *[replace(running, run_id=f"waits-{job}", job_id=job, scheduled_time=when, priority=priority,
                 state=RunState.QUEUED)
         for job, when, priority in
         (("new", at("12:00:03"), 0), ("full", at("12:00:01"), 0), ("urgent", NOON, 1))
        ]
    )  # fmt: skip
    leader.feed(leader.database.queue(asked=(), now=leader.now))
    order = []
    for _ in range(3):
        leader.end(running, now=at("12:00:07.500"))
        (running,) = leader.tick(at("12:00:07.500"))
        order.append(running.job_id)

    assert order == ["urgent", "full", "new"]


def test_what_waits_goes_before_what_is_due_now() -> None:
    leader = Leader(row("first", {"seconds": 10}), row("second", {"seconds": 15}), places=1)
    (running,) = leader.tick(at("12:00:10"))
    assert leader.tick(at("12:00:15")) == []
    leader.end(running, now=at("12:00:20"))

    assert [run.job_id for run in leader.tick(at("12:00:20"))] == ["second"]


def test_runs_that_are_held_elsewhere_take_their_place() -> None:
    leader = Leader(row())
    (run,) = leader.tick(at("12:00:10"))
    after = Leader(row())
    after.feed(UnknownRunsFound(runs=[replace(run, instance_id="there")], lost=(), now=NOON))

    assert after.tick(at("12:00:20")) == []
    assert passed_over(after)[0][0] == "SKIPPED"


def test_a_run_that_ended_elsewhere_leaves_its_place() -> None:
    leader = Leader(row(last_data_time=NOON), stateful={"job"})
    (run,) = leader.tick(at("12:00:10"))
    after = Leader(row(last_data_time=NOON), stateful={"job"}, states={"job": leader.state()})
    after.feed(UnknownRunsFound(runs=[run], lost=(), now=NOON))
    assert after.tick(at("12:00:20")) == []

    after.now = at("12:00:21")
    after.feed(RemoteRunsRead(asked=after.progress.remote.copy(), found={}, now=at("12:00:21")))
    assert times(after.tick(at("12:00:21"))) == [at("12:00:10")]
    assert after.progress.remote == set()


def test_a_waiting_run_that_was_cancelled_by_sql_is_let_go() -> None:
    leader = Leader(row(last_data_time=NOON), stateful={"job"})
    (run,) = leader.tick(at("12:00:10"))
    retry = leader.end(run, RunState.FAILED, retry_after=3600)
    assert retry is not None
    leader.database.put(replace(retry, state=RunState.CANCELLED))
    leader.feed(leader.database.queue(asked={retry.run_id}, now=at("12:00:20")))

    assert times(leader.tick(at("12:00:20"))) == [at("12:00:10")]


def test_a_run_whose_row_is_gone_is_brought_to_an_end() -> None:
    leader = Leader(row(overlap_policy="queue"))
    (first,) = leader.tick(at("12:00:10"))
    leader.tick(at("12:00:20"))
    leader.delete("job", at("12:00:21"))
    leader.end(first, now=at("12:00:22"))

    leader.tick(at("12:00:22"))
    assert [run.scheduled_time for run in leader.ends("CANCELLED")] == [at("12:00:20")]


# ---- retries ----------------------------------------------------------------------------------------


def test_a_retry_starts_when_its_moment_comes() -> None:
    leader = Leader(row(expression={"hours": 1}))
    (run,) = leader.tick(at("13:00:00"))
    retry = leader.end(run, RunState.FAILED, retry_after=10)
    assert retry is not None

    assert leader.progress.next_start(at("13:00:00")) == at("13:00:10")
    assert leader.tick(at("13:00:09")) == []
    (again,) = leader.tick(at("13:00:10"))
    assert (again.run_id, again.attempt, again.trigger_type) == (retry.run_id, 2, TriggerType.RETRY)


def test_a_run_that_waits_for_a_place_does_not_wake_the_loop() -> None:
    leader = Leader(row("full"), row("waits"), places=1)
    leader.tick(at("12:00:10"))
    (waiting,) = leader.progress.waiting.values()
    leader.progress.wait(replace(waiting, not_before=at("12:00:11")))

    assert leader.progress.next_start(at("12:00:10")) == at("12:00:11")
    assert leader.progress.next_start(at("12:00:11")) is None


@pytest.mark.parametrize("now", ["12:00:10", "12:00:25", "12:10:00"])
def test_after_a_claim_the_next_instant_lies_ahead(now: str) -> None:
    leader = Leader(
        row("each", coalesce=False), row("latest"), row("jitter", jitter_s=3.0),
        row("windows", last_data_time=NOON), row("first"), stateful={"windows", "first"},
    )  # fmt: skip
    leader.tick(at(now))
    leader.tick(at(now))  # for what waits for its turn it takes one more look to see that

    earliest = leader.earliest
    assert earliest is not None
    assert earliest > at(now)


# ---- stateful jobs ----------------------------------------------------------------------------------


def hourly(**columns: Any) -> Any:
    return row(expression="0 * * * *", **columns)


def stateful(**columns: Any) -> Leader:
    return Leader(hourly(**columns), stateful={"job"})


def test_the_first_window_runs_at_the_first_instant() -> None:
    leader = stateful()
    assert leader.tick(at("12:30:00")) == []

    (run,) = leader.tick(at("13:00:00"))
    assert run.window is not None
    assert (run.window.start, run.window.end) == (NOON, at("13:00:00"))
    assert leader.plan.batch.watermarks[0].old is None


def test_missing_windows_run_one_after_the_other_as_each_succeeds() -> None:
    leader = stateful(last_data_time=at("09:00:00"))
    starting = leader.tick(at("12:30:00"))
    assert starting == [], "nothing happens before the first instant after the row was written"

    order = []
    starting = leader.tick(at("13:00:00"))
    while starting:
        (run,) = starting
        order.append((run.scheduled_time, run.trigger_type))
        assert leader.tick(at("13:00:01")) == [], "one at a time"
        leader.end(run, now=at("13:00:01"))
        starting = leader.tick(at("13:00:01"))

    assert order == [
        (at("10:00:00"), TriggerType.CATCH_UP),
        (at("11:00:00"), TriggerType.CATCH_UP),
        (at("12:00:00"), TriggerType.CATCH_UP),
        (at("13:00:00"), TriggerType.SCHEDULE),
    ]
    assert leader.state().next_run_at == at("14:00:00")


def test_a_failed_window_is_tried_again_at_the_next_instant_and_nothing_runs_before_it() -> None:
    leader = stateful(last_data_time=at("11:00:00"))
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run, RunState.FAILED, at("13:00:05"))
    assert leader.tick(at("13:59:59")) == []
    assert leader.state().next_run_at == at("14:00:00")

    assert times(leader.tick(at("14:00:00"))) == [at("12:00:00")]


def test_a_failed_window_waits_under_the_next_leader_too() -> None:
    leader = stateful(last_data_time=at("11:00:00"))
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run, RunState.FAILED, at("13:00:05"))
    after = Leader(
        hourly(last_data_time=at("11:00:00")),
        stateful={"job"},
        states={"job": leader.stored()},
        now=at("13:10:00"),
    )

    assert after.tick(at("13:10:00")) == []
    assert times(after.tick(at("14:00:00"))) == [at("12:00:00")]


def test_a_retry_goes_before_the_next_instant_and_the_chain_goes_on_after_it() -> None:
    leader = stateful(last_data_time=NOON)
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run, RunState.FAILED, at("13:00:05"), retry_after=4000)
    assert leader.tick(at("14:00:00")) == []
    (again,) = leader.tick(at("14:06:45"))
    assert again.scheduled_time == at("13:00:00")

    leader.end(again, now=at("14:07:00"))
    assert times(leader.tick(at("14:07:00"))) == [at("14:00:00")]


def test_a_window_waits_for_a_place() -> None:
    leader = Leader(row("other"), row("job", last_data_time=NOON, priority=-1), stateful={"job"}, places=1)
    (other,) = leader.tick(at("12:00:10"))
    assert other.job_id == "other"
    leader.end(other, now=at("12:00:11"))

    assert [run.job_id for run in leader.tick(at("12:00:11"))] == ["job"]


def test_skip_jumps_to_the_latest_window_and_says_so() -> None:
    leader = stateful(last_data_time=at("09:00:00"), backfill_policy="SKIP")
    (run,) = leader.tick(at("13:00:00"))

    assert run.window is not None
    assert run.window.start == NOON
    assert passed_over(leader) == [("SKIPPED", at("10:00:00"), NOON, 3)]
    assert left_out(leader, "policy") == 3


def test_a_watermark_set_back_by_sql_replays_at_once() -> None:
    leader = stateful(last_data_time=NOON)
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run)
    leader.put(hourly(last_data_time=at("13:00:00"), updated_at=at("13:00:01")), at("13:00:01"))
    assert leader.tick(at("13:00:02")) == []

    leader.put(hourly(last_data_time=at("11:00:00"), updated_at=at("13:20:00")), at("13:20:00"))
    assert times(leader.tick(at("13:20:00"))) == [NOON]


def test_a_watermark_set_forward_by_sql_skips() -> None:
    leader = stateful(last_data_time=at("09:00:00"))
    leader.put(hourly(last_data_time=at("13:00:00"), updated_at=at("12:20:00")), at("12:20:00"))
    assert leader.tick(at("13:00:00")) == []

    assert times(leader.tick(at("14:00:00"))) == [at("14:00:00")]
    assert passed_over(leader) == []


def test_the_echo_of_the_runtimes_own_write_changes_nothing() -> None:
    leader = stateful(last_data_time=NOON)
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run)
    before = leader.state()
    leader.put(hourly(last_data_time=at("13:00:00"), updated_at=at("13:00:00.100")), at("13:00:01"))

    assert leader.state() == before
    assert leader.written == []
    assert leader.doubted == set()
    assert leader.tick(at("13:59:00")) == []


def test_a_reading_from_before_the_runtimes_own_write_replays_nothing() -> None:
    leader = stateful(last_data_time=at("11:00:00"))
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run)
    (run,) = leader.tick(at("13:00:00"))
    leader.put(hourly(last_data_time=at("11:00:00"), priority=1), at("13:00:01"))
    leader.end(run)

    assert leader.tick(at("13:00:02")) == []
    assert leader.doubted == {"job"}, "so that the row is read once more"


def test_a_watermark_set_back_to_where_it_has_just_been_is_an_edit_though_a_claim_came_between() -> None:
    leader = stateful(last_data_time=at("10:00:00"))
    for _ in range(2):  # moves that the leader has not read since
        (run,) = leader.tick(at("13:00:00"))
        leader.end(run, now=at("13:00:00"))
    leader.set_watermark(at("11:00:00"))
    assert leader.tick(at("13:00:01")) == [], "the database refuses the window from noon on"
    leader.reread()

    assert leader.stored().data_through == at("11:00:00"), "it is copied, which gives it its line"
    assert times(leader.tick(at("13:00:02"))) == [NOON]


def test_a_watermark_set_back_to_where_the_leader_came_from_replays_once_it_is_read_again() -> None:
    leader = stateful(last_data_time=NOON)
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run)
    set_back = hourly(last_data_time=NOON, updated_at=at("13:00:01"))
    leader.put(set_back, at("13:00:01"))
    assert leader.tick(at("13:00:01")) == []
    leader.put(set_back, at("13:00:02"))

    assert times(leader.tick(at("13:00:02"))) == [at("13:00:00")]


def test_a_window_that_the_database_refuses_is_not_tried_over_and_over() -> None:
    leader = stateful(last_data_time=NOON)

    assert leader.tick(at("13:00:00"), lost={"job"}) == []
    assert leader.tick(at("13:00:01")) == []
    assert missed(leader, "max_windows") == 0
    assert times(leader.tick(at("14:00:00"))) == [at("13:00:00")]


def test_enabling_a_stateful_job_runs_nothing_by_itself_and_the_next_instant_makes_up() -> None:
    leader = stateful(last_data_time=at("10:00:00"))
    leader.put(hourly(last_data_time=at("10:00:00"), enabled=False), at("12:00:01"))
    leader.put(hourly(last_data_time=at("10:00:00"), updated_at=at("15:30:00")), at("15:30:00"))
    assert leader.tick(at("15:30:00")) == []

    assert times(leader.tick(at("16:00:00"))) == [at("11:00:00")]


def test_a_stateful_date_runs_its_one_window_and_is_completed() -> None:
    date = row(expression={"run_date": "2026-03-02T12:30:00Z"}, last_data_time=NOON)
    leader = Leader(date, stateful={"job"})
    (run,) = leader.tick(at("12:30:00"))

    assert run.window is not None
    assert run.window.start == NOON
    assert leader.plan.batch.completed == {"job"}
    leader.end(run)
    assert leader.state().status == JobStatus.COMPLETED
    assert leader.changed == {"job"}, "so that the state is written"


def test_a_stateful_date_without_a_watermark_is_refused() -> None:
    leader = Leader(row(expression={"run_date": "2026-03-02T12:30:00Z"}), stateful={"job"})

    assert leader.state().status == JobStatus.INVALID
    assert "set last_data_time" in (leader.state().message or "")
