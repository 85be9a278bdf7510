"""Which window is due, and what a bound or the policy leaves out before it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piko.catalog.jobs import Job
from piko.core.types import BackfillPolicy, DataInterval
from piko.decisions.due import Span
from piko.decisions.due_window import Bound, decide_window
from tests.scheduler.making import NOON, at, planned, seconds

schedules = st.sampled_from(
    [{"seconds": 10}, {"seconds": 7, "start_date": "2026-03-02T11:59:58Z"}, "*/2 * * * *", "30 */3 * * * *"]
)


def window(start: str, end: str) -> DataInterval:
    return DataInterval(start=at(start), end=at(end))


def hourly(**values: object) -> Job:
    return planned("0 * * * *", stateful=True, **values)  # type: ignore[arg-type]


def test_the_first_window_is_the_last_full_one() -> None:
    decision = decide_window(hourly(), watermark=None, now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")
    assert decision.watermark == at("11:00:00")
    assert (decision.given_up, decision.skipped, decision.catching_up) == ((), None, False)


def test_the_first_window_of_a_schedule_with_a_beginning_reaches_back_before_it() -> None:
    decision = decide_window(hourly(start_at=NOON), watermark=None, now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")


def test_nothing_is_due_until_the_window_is_full() -> None:
    assert decide_window(hourly(), watermark=NOON, now=at("12:59:59")).window is None


def test_a_watermark_that_lies_ahead_leaves_nothing_due() -> None:
    assert decide_window(hourly(), watermark=at("20:00:00"), now=at("13:00:00")).window is None


def test_catching_up_begins_with_the_oldest_window() -> None:
    decision = decide_window(hourly(), watermark=at("08:00:00"), now=at("12:30:00"))

    assert decision.window == window("08:00:00", "09:00:00")
    assert decision.catching_up
    assert decision.given_up == ()


def test_a_window_begins_at_the_watermark_wherever_that_is() -> None:
    decision = decide_window(hourly(), watermark=at("11:20:00"), now=at("12:30:00"))

    assert decision.window == window("11:20:00", "12:00:00")


def test_what_lies_beyond_the_number_of_windows_is_given_up_for_that() -> None:
    decision = decide_window(hourly(backfill_max_windows=2), watermark=at("06:20:00"), now=at("12:30:00"))

    assert decision.window == window("10:00:00", "11:00:00")
    assert decision.watermark == at("10:00:00")
    dropped = Span(
        first=at("07:00:00"), through=at("10:00:00"), count=4, reason="beyond backfill_max_windows = 2"
    )
    assert decision.given_up == ((Bound.MAX_WINDOWS, dropped),)


def test_what_lies_beyond_the_lookback_is_given_up_for_that() -> None:
    decision = decide_window(hourly(max_lookback_s=7200.0), watermark=at("06:00:00"), now=at("12:30:00"))

    assert decision.window == window("10:00:00", "11:00:00")
    dropped = Span(
        first=at("07:00:00"), through=at("10:00:00"), count=4, reason="beyond max_lookback_s = 7200"
    )
    assert decision.given_up == ((Bound.LOOKBACK, dropped),)


def test_each_bound_answers_for_what_it_drops() -> None:
    job = hourly(max_lookback_s=4 * 3600.0, backfill_max_windows=2)
    decision = decide_window(job, watermark=at("06:00:00"), now=at("12:30:00"))

    assert decision.window == window("10:00:00", "11:00:00")
    assert [(bound, span.first, span.through, span.count) for bound, span in decision.given_up] == [
        (Bound.LOOKBACK, at("07:00:00"), at("08:00:00"), 2),
        (Bound.MAX_WINDOWS, at("09:00:00"), at("10:00:00"), 2),
    ]


def test_no_bound_takes_away_the_newest_window() -> None:
    decision = decide_window(hourly(max_lookback_s=1.0), watermark=at("06:00:00"), now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")
    assert not decision.catching_up


def test_skip_runs_the_latest_window_and_records_the_jump() -> None:
    decision = decide_window(hourly(policy=BackfillPolicy.SKIP), watermark=at("06:00:00"), now=at("12:30:00"))

    assert decision.window == window("11:00:00", "12:00:00")
    assert decision.watermark == at("11:00:00")
    assert decision.given_up == ()
    assert decision.skipped is not None
    assert (decision.skipped.first, decision.skipped.through, decision.skipped.count) == (
        at("07:00:00"),
        at("11:00:00"),
        5,
    )
    assert not decision.catching_up


@pytest.mark.parametrize("expression", [{"seconds": 0.5}, "* * * * *", "* * * * * *"])
@pytest.mark.parametrize("year", [1000, 1970, 2006])
def test_without_a_bound_a_backlog_of_any_size_begins_with_its_oldest_window(
    expression: object, year: int
) -> None:
    watermark = datetime(year, 1, 1, tzinfo=UTC)
    job = planned(expression, stateful=True)
    decision = decide_window(job, watermark=watermark, now=NOON)

    assert decision.window == DataInterval(start=watermark, end=job.schedule.next_after(watermark) or NOON)
    assert (decision.given_up, decision.skipped, decision.catching_up) == ((), None, True)


@pytest.mark.parametrize("columns", [{"backfill_max_windows": 100_000}, {"max_lookback_s": 86_400.0}])
def test_what_a_bound_drops_of_centuries_is_counted_exactly(columns: dict[str, Any]) -> None:
    watermark = datetime(1000, 1, 1, tzinfo=UTC)
    decision = decide_window(
        planned({"seconds": 0.5}, stateful=True, **columns), watermark=watermark, now=NOON
    )

    ((_, dropped),) = decision.given_up
    first = datetime(1970, 1, 1, tzinfo=UTC)
    assert (dropped.first, dropped.through) == (first, decision.watermark)
    assert dropped.count == (dropped.through - first) // timedelta(seconds=0.5) + 1
    assert dropped.count > 2**31


marks = st.integers(0, 20_000).map(seconds)
bounds = st.tuples(st.none() | st.floats(1, 20_000), st.none() | st.integers(1, 60))


@given(schedules, marks, st.sampled_from(BackfillPolicy), bounds)
def test_windows_are_contiguous_and_each_is_run_or_recorded(
    expression: object, age: timedelta, policy: BackfillPolicy, bound: tuple[float | None, int | None]
) -> None:
    job = planned(
        expression, stateful=True, policy=policy, max_lookback_s=bound[0], backfill_max_windows=bound[1]
    )
    watermark = NOON - age
    ends: list[datetime] = []
    edges = list(job.schedule.between(watermark, NOON))
    if policy is BackfillPolicy.CATCH_UP:
        left = edges_within(edges, lookback=bound[0], most=bound[1])
    else:
        left = edges[-1:]
    ran: list[datetime] = []
    while (decision := decide_window(job, watermark=watermark, now=NOON)).window is not None:
        passed = [span for _, span in decision.given_up] + ([decision.skipped] if decision.skipped else [])
        at = watermark
        for span in passed:
            inside = list(job.schedule.between(at, span.through))
            assert (inside[0], inside[-1], len(inside)) == (span.first, span.through, span.count)
            ends += inside
            at = span.through
        assert decision.watermark == decision.window.start == at
        ends.append(decision.window.end)
        ran.append(decision.window.end)
        watermark = decision.window.end

    assert ends == edges
    assert ran == left


def edges_within(edges: list[datetime], *, lookback: float | None, most: int | None) -> list[datetime]:
    """By the letter: which windows a backlog within its bounds consists of."""
    reach = [edge for edge in edges if lookback is None or edge > NOON - seconds(lookback)] or edges[-1:]
    return reach if most is None else reach[-most:]
