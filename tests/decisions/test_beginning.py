"""A schedule begins when it was first seen as it is, and what was due before that is recorded."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.catalog.jobs import seen
from piko.core.types import JobStatus, RunState
from piko.decisions.beginning import beginning
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, assessed, at, definition, planned, row, seconds

offsets = st.none() | st.integers(-400, 400).map(seconds)


@given(edited=st.integers(-400, 400), committed=st.integers(0, 300), looked=offsets, cursor=offsets)
def test_nothing_from_before_the_commit_is_fired_and_nothing_after_the_last_look_is_dropped(
    edited: int, committed: int, looked: timedelta | None, cursor: timedelta | None
) -> None:
    commit = NOON + seconds(committed)
    edit = NOON + seconds(min(edited, committed))
    first_seen = commit + seconds(0.7)
    looked_at = None if looked is None else min(NOON + looked, commit)
    made = replace(assessed(row(updated_at=edit), definition()), seen_at=first_seen, unseen_at=looked_at)
    before = None if cursor is None else NOON + cursor
    job = planned()
    begin = beginning(job, made, cursor=before, now=first_seen + seconds(90))

    was_seen_to_be_late = looked_at is not None and edit < looked_at
    own = first_seen if was_seen_to_be_late else edit
    assert begin.cursor == (own if before is None else max(own, before))
    found = (
        []
        if begin.unseen is None
        else list(job.schedule.between(begin.unseen.first - timedelta(microseconds=1), begin.unseen.through))
    )
    expected = []
    if looked_at is not None and was_seen_to_be_late:
        since = looked_at if before is None else max(looked_at, before)
        expected = list(job.schedule.between(since, begin.cursor)) if since < begin.cursor else []
    assert found == expected
    assert begin.unseen is None or begin.unseen.count == len(expected)


@pytest.mark.parametrize(
    ("before", "kept"),
    [
        (row(), True),
        (row(priority=5), True),
        (row(enabled=False), False),
        (row(expression={"seconds": 7}), False),
        (row(expression={"seconds": 1}, overlap_policy="never"), False),
        (None, False),
    ],
)
def test_only_a_change_of_what_is_fired_makes_a_schedule_new(before: object, kept: bool) -> None:
    earlier = None if before is None else replace(assessed(before, definition()), seen_at=at("11:00:00"))  # type: ignore[arg-type]
    now = seen(assessed(row(version=2), definition()), earlier, now=NOON, looked_at=at("11:59:59"))

    assert now.seen_at == (at("11:00:00") if kept else NOON)


def late(leader: Leader, *, edited: datetime, looked: datetime | None, now: datetime, **columns: Any) -> None:
    """A row that is seen at `now`, whose statement ran at `edited`."""
    leader.rows["job"] = replace(
        assessed(row(updated_at=edited, **columns), definition()), seen_at=now, unseen_at=looked
    )
    leader.take_in({"job"}, now)


def test_a_row_committed_late_fires_what_comes_after_it_was_seen() -> None:
    leader = Leader()
    late(leader, edited=NOON, looked=at("12:00:44"), now=at("12:00:45"))
    assert leader.tick(at("12:00:45")) == []
    (run,) = leader.tick(at("12:00:50"))

    assert run.scheduled_time == at("12:00:50")
    assert [claim.batch.passed_over for claim in leader.claims] == [(), []], "it was not there to be missed"


@pytest.mark.parametrize(("looked", "state"), [("12:00:39", RunState.SKIPPED), ("12:00:05", RunState.MISSED)])
def test_what_was_due_between_the_two_looks_at_a_late_commit_is_recorded(
    looked: str, state: RunState
) -> None:
    leader = Leader()
    late(leader, edited=NOON, looked=at(looked), now=at("12:00:41"))
    assert leader.tick(at("12:00:41")) == []

    ((item, reason),) = leader.skipped
    assert (item.state, item.through, reason) == (state, at("12:00:40"), "unseen")
    assert leader.state().cursor_at == at("12:00:41")
    leader.tick(at("12:00:42"))
    assert leader.skipped == [], "once"


def test_an_edit_that_was_seen_at_the_next_look_fires_what_came_due_meanwhile() -> None:
    leader = Leader()
    late(leader, edited=at("12:00:09.500000"), looked=at("12:00:09"), now=at("12:00:10.100000"))
    (run,) = leader.tick(at("12:00:10.100000"))

    assert run.scheduled_time == at("12:00:10")
    assert leader.skipped == []


@pytest.mark.parametrize(("started", "fired"), [("12:05:00", True), ("12:06:00", False)])
def test_a_date_that_passed_before_any_replica_ran_is_judged_by_its_grace(started: str, fired: bool) -> None:
    leader = Leader()
    date = {"run_date": "2026-03-02T12:00:30Z"}
    late(leader, edited=NOON, looked=None, now=at(started), expression=date)
    found = leader.tick(at(started))

    assert [run.scheduled_time for run in found] == ([at("12:00:30")] if fired else [])
    assert [(item.state, item.first) for item, _ in leader.skipped] == (
        [] if fired else [(RunState.MISSED, at("12:00:30"))]
    )
    assert leader.plan.batch.completed == {"job"}
    assert leader.state().status == JobStatus.COMPLETED


def test_a_new_leader_begins_where_it_saw_a_late_commit_as_a_standby() -> None:
    leader = Leader()
    leader.rows["job"] = replace(
        assessed(row(updated_at=NOON), definition()), seen_at=at("12:00:25"), unseen_at=at("12:00:24")
    )
    leader.take_in({"job"}, at("12:01:00"))
    (run,) = leader.tick(at("12:01:00"))

    assert run.scheduled_time == at("12:01:00")
    ((item, reason),) = leader.skipped
    assert (item.state, item.first, item.through) == (RunState.SKIPPED, at("12:00:30"), at("12:00:50"))
    assert reason == "coalesced"
