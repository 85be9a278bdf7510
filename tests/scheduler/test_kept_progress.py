"""A row that goes and comes back goes on where it stopped, and it does not matter who was looking."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from piko.core.types import DataInterval, JobStatus, RunState
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, definition, seconds


def loading() -> Leader:
    """A stateful job of each ten seconds whose data is done up to 12:00:20."""
    leader = Leader(definitions=[definition(stateful=True)])
    leader.write(last_data_time=NOON)
    for moment in ("12:00:10", "12:00:20"):
        leader.until(at(moment))
        leader.end_next()
    return leader


def pass_time(leader: Leader, moment: datetime) -> None:
    """Until `moment`, each handler ends at once."""
    while True:
        leader.work()
        if leader.running():
            leader.end_next()
        elif leader.now >= moment:
            return
        else:
            following = leader.earliest
            leader.now = moment if following is None else max(leader.now, min(moment, following))


def loaded(leader: Leader) -> list[DataInterval]:
    done = [run for run in leader.history if run.state is RunState.SUCCESS]
    return [run.window for run in done if run.window is not None]


def is_without_hole(leader: Leader) -> bool:
    windows = loaded(leader)
    return all(before.end == after.start for before, after in pairwise(windows))


@pytest.mark.parametrize("was_seen", [True, False], ids=["deletion seen", "between two looks"])
@pytest.mark.parametrize("leads", ["the same", "another"])
def test_windows_go_on_where_the_row_before_stopped(was_seen: bool, leads: str) -> None:
    leader = loading()
    leader.delete(look=was_seen)
    leader.now = at("12:00:57")
    leader.write(look=leads == "the same")
    if leads == "another":
        leader.take_over()
    assert leader.watermark() == at("12:00:20"), "it is written before anything is claimed"
    pass_time(leader, at("12:01:00"))
    assert is_without_hole(leader)
    assert loaded(leader)[-1].end == at("12:01:00")
    assert len(loaded(leader)) == 6


def test_an_explicit_watermark_of_the_new_row_wins() -> None:
    leader = loading()
    leader.delete()
    leader.write(last_data_time=at("11:59:50"))
    assert leader.watermark() == at("11:59:50")
    assert leader.stored().data_through == at("11:59:50")
    pass_time(leader, at("12:00:30"))
    assert [window.end for window in loaded(leader)[2:]] == [
        at("12:00:00"), at("12:00:10"), at("12:00:20"), at("12:00:30"),
    ]  # fmt: skip


@pytest.mark.parametrize("leads", ["the same", "another"])
def test_null_in_a_row_that_was_there_is_obeyed(leads: str) -> None:
    leader = loading()
    leader.set_watermark(None, look=leads == "the same")
    if leads == "another":
        leader.take_over()
    assert leader.watermark() is None
    assert leader.stored().data_through is None
    leader.delete()
    leader.write()
    assert leader.watermark() is None, "what a person took away is not kept either"


def test_what_somebody_set_shortly_before_is_what_is_kept() -> None:
    leader = loading()
    leader.set_watermark(at("11:59:00"))
    leader.delete()
    leader.write()
    assert leader.watermark() == at("11:59:00")


def test_a_new_schedule_begins_at_its_row_and_still_knows_the_data() -> None:
    leader = loading()
    leader.delete()
    leader.now = at("12:00:41")
    leader.write(expression={"seconds": 15})
    assert leader.watermark() == at("12:00:20")
    pass_time(leader, at("12:00:45"))
    assert loaded(leader)[2:] == [
        DataInterval(at("12:00:20"), at("12:00:30")), DataInterval(at("12:00:30"), at("12:00:45")),
    ]  # fmt: skip


@pytest.mark.parametrize("stateful", [True, False])
def test_what_was_forgotten_starts_afresh(stateful: bool) -> None:
    leader = Leader(definitions=[definition(stateful=stateful)])
    columns: dict[str, Any] = {"last_data_time": NOON} if stateful else {}
    leader.write(**columns)
    pass_time(leader, at("12:00:20"))
    leader.delete()
    del leader.database.states["job"]
    leader.now = at("12:01:05")
    leader.write()
    assert leader.watermark() is None
    assert leader.stored().cursor_at == at("12:01:05")
    pass_time(leader, at("12:01:10"))
    assert leader.started()[-1:] == [at("12:01:10")]
    assert leader.recorded() == []


@pytest.mark.parametrize("was_seen", [True, False])
def test_instants_without_a_row_are_judged_as_after_any_other_delay(was_seen: bool) -> None:
    leader = Leader()
    leader.write(misfire_grace_s=15)
    pass_time(leader, at("12:00:10"))
    leader.delete(look=was_seen)
    leader.now = at("12:00:44")
    leader.write(misfire_grace_s=15)
    pass_time(leader, at("12:00:44"))
    assert leader.started() == [at("12:00:10"), at("12:00:40")]
    assert leader.recorded() == [
        ("MISSED", at("12:00:20"), at("12:00:20"), 1), ("SKIPPED", at("12:00:30"), at("12:00:30"), 1),
    ]  # fmt: skip


def test_a_date_that_has_fired_does_not_fire_for_the_next_row() -> None:
    leader = Leader()
    leader.write(expression={"run_date": "2026-03-02T12:00:30Z"})
    pass_time(leader, at("12:00:31"))
    leader.delete()
    leader.write(expression={"run_date": "2026-03-02T12:00:30Z"})
    pass_time(leader, at("12:01:00"))
    assert leader.started() == [at("12:00:30")]
    assert leader.stored().status == JobStatus.COMPLETED


def test_a_row_that_cannot_be_had_waits_and_nothing_of_it_is_claimed() -> None:
    leader = loading()
    leader.delete()
    leader.write(look=False)
    leader.database.locked = {"job"}
    leader.look()
    assert [move.new for move in leader.restored] == [at("12:00:20")]
    assert "job" not in leader.leader.agenda.states
    leader.database.locked = set()
    leader.now = at("12:01:00")
    leader.work()
    assert leader.running() == []
    assert leader.doubted == {"job"}, "so that the row is read again"
    leader.look({"job"})
    pass_time(leader, at("12:01:10"))
    assert is_without_hole(leader)


def test_what_somebody_writes_at_the_same_time_wins() -> None:
    leader = loading()
    leader.delete()
    leader.write(look=False)
    leader.database.watermarks["job"] = at("11:59:30")
    leader.look()
    assert [move.new for move in leader.restored] == [at("12:00:20")]
    assert "job" in leader.leader.agenda.states
    assert leader.doubted == {"job"}
    leader.reread()
    assert leader.stored().data_through == at("11:59:30")
    pass_time(leader, at("12:00:30"))
    assert loaded(leader)[2].start == at("11:59:30")


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 40)),
        st.tuples(st.just("leader"), st.integers(0, 60)),
        st.tuples(st.just("delete"), st.booleans()),
        st.tuples(st.just("write"), st.booleans()),
        st.tuples(st.just("start"), st.integers(1, 15)),
        st.tuples(st.just("end"), st.none()),
    ),
    max_size=25,
)


@example(events=[("delete", False), ("pass", 19), ("write", True), ("delete", False)])
@settings(max_examples=200)
@given(events=EVENTS)
def test_no_window_is_lost_or_done_twice_however_rows_come_and_go(
    events: list[tuple[str, int | bool | None]],
) -> None:
    leader = loading()
    for kind, value in events:
        there = "job" in leader.rows
        if kind == "pass":
            pass_time(leader, leader.now + seconds(int(value or 0)))
        elif kind == "leader":
            if there:
                leader.reread()
            leader.away(seconds(int(value or 0)))
        elif kind == "delete" and there:
            leader.delete(look=bool(value))
        elif kind == "write" and not there:
            leader.now += seconds(1)
            leader.write(look=bool(value))
        elif kind == "start":
            leader.until(leader.now + seconds(int(value or 0)))
        elif kind == "end" and leader.running():
            leader.end_next()
    if "job" not in leader.rows:
        leader.now += seconds(1)  # two rows of one moment are one row
        leader.write()
    leader.reread()
    end = leader.now + seconds(60)
    pass_time(leader, end)
    assert is_without_hole(leader)
    assert loaded(leader)[-1].end == max(end.replace(second=end.second // 10 * 10), NOON)
    assert leader.stored().data_through == leader.watermark()
