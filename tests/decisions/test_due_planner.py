"""The short way of plain jobs comes to what the long way comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.core.types import OverlapPolicy
from piko.decisions.due_planner import DuePlanner
from piko.model.states import JobState
from tests.scheduler.leading import Leader
from tests.scheduler.making import NOON, at, row, seconds

MOMENTS = st.lists(st.integers(0, 300_000).map(lambda milliseconds: NOON + seconds(milliseconds / 1000)))
ROWS = st.fixed_dictionaries(
    {
        "expression": st.sampled_from([{"seconds": 10}, {"seconds": 7.5}, "*/1 * * * *", {"hours": 1}]),
        "coalesce": st.booleans(),
        "overlap_policy": st.sampled_from([policy.value for policy in OverlapPolicy]),
        "max_instances": st.integers(1, 3),
        "misfire_grace_s": st.sampled_from([0.0, 5.0, 300.0]),
        "jitter_s": st.sampled_from([0.0, 0.0, 3.0]),
        "concurrency_group": st.sampled_from([None, "group"]),
    }
)


def told(columns: dict[str, Any], moments: Sequence[datetime], *, places: int) -> list[object]:
    """What a leader says of two jobs at `moments`; ids are numbers in the order of their making."""
    limit: dict[str, Any] = {} if columns["concurrency_group"] is None else {"concurrency_limit": 1}
    leader = Leader(row(**columns, **limit), row("other", **columns, **limit), places=places)
    seen: list[object] = []
    for number, moment in enumerate(sorted(moments)):
        started = leader.tick(moment)
        seen.append((started, leader.skipped, leader.waiting(), leader.earliest))
        seen.append([leader.state(job_id) for job_id in ("job", "other")])
        for run in started[number % 2 :]:
            leader.end(run, now=moment)
    return seen


@settings(deadline=None, max_examples=60)
@given(columns=ROWS, moments=MOMENTS, places=st.integers(1, 3))
def test_both_ways_decide_the_same(columns: dict[str, Any], moments: list[datetime], places: int) -> None:
    short = told(columns, moments, places=places)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DuePlanner, "_add_plain", lambda *_: False)
        assert told(columns, moments, places=places) == short


def test_a_plain_job_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DuePlanner, "_add_instants", lambda *_: pytest.fail("the long way"))
    leader = Leader(row())
    assert [run.scheduled_time for run in leader.tick(at("12:00:10"))] == [at("12:00:10")]
    assert leader.state().next_run_at == at("12:00:20")


def test_a_plain_job_that_is_overtaken_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DuePlanner, "_add_instants", lambda *_: pytest.fail("the long way"))
    leader = Leader(row())
    assert [run.scheduled_time for run in leader.tick(at("12:00:45"))] == [at("12:00:40")]
    passed = [(item.first, item.through, item.count) for item, _ in leader.skipped]
    assert passed == [(at("12:00:10"), at("12:00:30"), 3)]
    assert leader.state().next_run_at == at("12:00:50")


@given(
    state=st.builds(JobState, job_id=st.text(), message=st.none() | st.text(), row_gone_at=st.datetimes()),
    moment=st.datetimes(),
)
def test_a_state_that_has_moved_on_keeps_all_else(state: JobState, moment: datetime) -> None:
    values: dict[str, Any] = {"cursor_at": moment, "next_run_at": moment, "status": "x", "message": None}
    others = set(JobState.__dataclass_fields__) - values.keys()
    marked: dict[str, Any] = {name: f"{name} {state.job_id}" for name in others}
    filled = replace(state, **marked)
    assert filled.moved_on(**values) == replace(filled, **values)
