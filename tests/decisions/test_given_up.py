"""What a bound on a backlog drops is reported, and stands until somebody answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from piko.core.types import BackfillState, DataInterval, JobStatus, RunState
from piko.model.backfills import Backfill
from piko.model.schedules import ScheduleRow
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, row, seconds


def hourly(**columns: Any) -> ScheduleRow:
    return row(expression="0 * * * *", **columns)


def missed(leader: Leader, reason: str) -> float:
    return leader.missed["job", reason]


def backfill(leader: Leader, data: DataInterval) -> None:
    """Somebody asks for the data again, and the leader sees it."""
    leader.database.backfills["b"] = Backfill(
        backfill_id="b",
        job_id="job",
        state=BackfillState.PAUSED,
        range_start=data.start,
        range_end=data.end,
        schedule_type="cron",
        schedule_expr='"0 * * * *"',
        timezone="UTC",
        next_start=data.start,
        windows_total=1,
    )
    leader.feed(leader.database.queue(asked=(), now=leader.now))
    leader.turn()


def test_what_a_bound_drops_is_told_with_the_line_that_runs_it() -> None:
    leader = Leader(hourly(last_data_time=at("06:00:00"), backfill_max_windows=2), stateful={"job"})
    (run,) = leader.tick(at("13:00:00"))

    line = "piko backfill job --from 2026-03-02T06:00:00Z --to 2026-03-02T11:00:00Z"
    assert missed(leader, "max_windows") == 5
    assert missed(leader, "lookback") == 0
    ((recorded, _),) = leader.skipped
    assert (recorded.state, recorded.count) == (RunState.MISSED, 5)
    assert recorded.reason == f"beyond backfill_max_windows = 2; to run what was given up: {line}"
    assert [item.facts["repair"] for item in leader.plan.given_up] == [line]
    assert line in (leader.state().message or "")
    leader.end(run)
    assert line in (leader.state().message or ""), "it stands"
    assert leader.state().status == JobStatus.SCHEDULED


def test_the_line_that_runs_a_window_cut_by_the_watermark_names_the_whole_window() -> None:
    leader = Leader(hourly(last_data_time=at("11:20:00"), backfill_max_windows=1), stateful={"job"})
    leader.tick(at("13:00:00"))

    assert leader.plan.given_up[0].facts["repair"] == (
        "piko backfill job --from 2026-03-02T11:00:00Z --to 2026-03-02T12:00:00Z"
    )


def test_what_was_given_up_time_and_again_stands_as_one_range() -> None:
    leader = Leader(hourly(last_data_time=at("08:00:00"), max_lookback_s=60.0), stateful={"job"})
    (run,) = leader.tick(at("13:00:00"))
    leader.end(run)
    (run,) = leader.tick(at("15:00:00"))

    state = leader.state()
    assert (state.given_up_from, state.given_up_to) == (at("08:00:00"), at("14:00:00"))


def test_a_new_leader_still_knows_what_was_given_up() -> None:
    leader = Leader(hourly(last_data_time=at("08:00:00"), max_lookback_s=60.0), stateful={"job"})
    leader.tick(at("13:00:00"))
    known = hourly(last_data_time=at("12:00:00"), max_lookback_s=60.0)
    after = Leader(known, stateful={"job"}, states=dict(leader.leader.agenda.states), now=at("13:00:01"))

    assert "piko backfill job" in (after.state().message or "")


@pytest.mark.parametrize("answer", ["backfill", "watermark", "version"])
def test_what_was_given_up_stands_until_somebody_answers(answer: str) -> None:
    leader = Leader(hourly(last_data_time=at("08:00:00"), max_lookback_s=60.0), stateful={"job"})
    leader.tick(at("13:00:00"))
    data = DataInterval(start=at("08:00:00"), end=at("12:00:00"))
    if answer == "backfill":
        backfill(leader, replace(data, start=at("09:00:00")))
        assert leader.state().given_up_from is not None, "that is not all of it"
        backfill(leader, data)
    elif answer == "watermark":
        leader.put(hourly(last_data_time=at("08:00:00"), max_lookback_s=60.0), at("13:00:01"))
        leader.put(hourly(last_data_time=at("07:00:00"), max_lookback_s=60.0), at("13:00:02"))
    else:
        leader.put(hourly(last_data_time=at("12:00:00"), max_lookback_s=60.0, version=2), at("13:00:01"))

    state = leader.state()
    assert (state.given_up_from, state.given_up_to, state.message) == (None, None, None)


def test_a_backlog_of_half_a_century_is_run_from_its_beginning_when_nobody_bounds_it() -> None:
    since = datetime(1970, 1, 1, tzinfo=UTC)
    each = row(expression={"seconds": 0.5}, last_data_time=since)
    leader = Leader(each, stateful={"job"})
    done = []
    now = NOON + seconds(1)
    (run,) = leader.tick(now)
    for _ in range(20):
        done.append(run.scheduled_time)
        leader.end(run, now=now)
        now += seconds(0.01)
        leader.take_in((), now)
        (run,) = leader.tick(now)

    assert done == [since + seconds(0.5 * number) for number in range(1, 21)]
    assert leader.skipped == []
