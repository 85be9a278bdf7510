from __future__ import annotations

import time
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from piko.schedule import counting
from piko.schedule.counting import count_instants, latest_but
from tests.schedule.making import CHANGES, EDGES, MICROSECOND, cron, local_start, schedule, utc

_EXPRESSIONS = [
    "* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "0,30 1,2,3 * * *", "*/10 30 2 * * *",
    "* * * * * *", "*/20 */7 1-3 * * *", "15 2 1-7 * mon", "0 0 31 * *", "0 0 29 2 *", "0 12 * * 5l",
    {"hour": 2, "minute": 30}, {"week": "*/2", "day_of_week": 0}, {"year": "2024-2030", "day": "last"},
    {"hour": "1-3", "minute": "0,59", "second": "*/30"},
]  # fmt: skip
_LAST_YEAR = 2030
_LONGEST = 5_000


def counted(made: Any, after: datetime, through: datetime) -> int:
    return sum(1 for _ in made.between(after, through))


@given(
    expression=st.sampled_from(_EXPRESSIONS),
    edge=st.sampled_from(EDGES),
    start=st.integers(-3 * 86_400, 3 * 86_400),
    length=st.integers(0, 20 * 86_400),
    walked=st.sampled_from([0, 1, 32]),
)
@settings(max_examples=300)
def test_counting_agrees_with_walking_across_every_change_of_the_clocks(
    expression: Any, edge: tuple[str, str], start: int, length: int, walked: int
) -> None:
    zone, date = edge
    made = cron(expression, zone)
    after = local_start(date, zone) + timedelta(seconds=start)
    end = after + timedelta(seconds=length)
    ends = list(islice(made.between(after, end), _LONGEST))
    through = ends[-1] if len(ends) == _LONGEST else end
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(counting, "_WALKED", walked)
        assert count_instants(made, after=after, through=through) == len(ends)


@given(
    expression=st.sampled_from(
        ["0 3 * * *", "0 0 29 2 *", "*/30 4 * * mon", {"week": 53, "day_of_week": "fri"}]
    ),
    zone=st.sampled_from(sorted(CHANGES)),
    year=st.integers(1960, 2050),
    years=st.integers(0, 8),
)
@settings(max_examples=60)
def test_counting_agrees_with_walking_over_years(expression: Any, zone: str, year: int, years: int) -> None:
    made = cron(expression, zone)
    after, through = utc(f"{year}-03-01 01:00"), utc(f"{year + years}-02-28 23:00")
    assert count_instants(made, after=after, through=through) == counted(made, after, through)


@given(
    period=st.integers(100_000, 10**10),
    anchor=st.integers(0, 10**10),
    after=st.integers(-(10**11), 10**11),
    length=st.integers(-10, 10**11),
)
@example(period=100_000, anchor=0, after=-1, length=0)
def test_an_interval_is_counted_by_its_grid(period: int, anchor: int, after: int, length: int) -> None:
    length = min(length, 300 * period)
    start = utc("1970-01-01") + timedelta(microseconds=anchor)
    made = schedule("interval", {"seconds": period / 10**6, "start_date": start.isoformat()})
    low = utc("1970-01-01") + timedelta(microseconds=after)
    high = low + timedelta(microseconds=length)
    assert count_instants(made, after=low, through=high) == counted(made, low, high)


@given(
    expression=st.sampled_from(_EXPRESSIONS),
    edge=st.sampled_from(EDGES),
    skipped=st.integers(0, 200),
)
@settings(max_examples=150)
def test_the_nth_from_the_end_is_the_one_that_walking_back_finds(
    expression: Any, edge: tuple[str, str], skipped: int
) -> None:
    zone, date = edge
    at = local_start(date, zone, days_before=-2)
    assume("year" not in str(expression) or at.year <= _LAST_YEAR)  # later it is refused: it never fires
    made = cron(expression, zone, start_at=at - timedelta(days=9))
    instant = made.latest_at(at)
    for _ in range(skipped):
        instant = None if instant is None else made.latest_at(instant - MICROSECOND)
    assert latest_but(made, skipped, at=at) == instant


def test_the_nth_from_the_end_of_an_interval_respects_its_bounds() -> None:
    made = schedule("interval", {"seconds": 10}, start_at=utc("2026-01-01 00:00:05"))
    at = utc("2026-01-01 00:00:45")
    assert latest_but(made, 0, at=at) == utc("2026-01-01 00:00:40")
    assert latest_but(made, 3, at=at) == utc("2026-01-01 00:00:10")
    assert latest_but(made, 4, at=at) is None


def test_a_date_counts_once() -> None:
    made = schedule("date", {"run_date": "2026-01-08T10:00:00Z"})
    assert count_instants(made, after=utc("2026-01-08 09:00"), through=utc("2026-01-08 10:00")) == 1
    assert count_instants(made, after=utc("2026-01-08 10:00"), through=utc("2026-01-09 10:00")) == 0
    assert latest_but(made, 0, at=utc("2026-01-09")) == utc("2026-01-08 10:00")
    assert latest_but(made, 1, at=utc("2026-01-09")) is None


def test_centuries_of_seconds_are_counted_without_walking_through_them() -> None:
    each_second, half = cron("* * * * * *", "Europe/Berlin"), schedule("interval", {"seconds": 0.5})
    since, now = utc("1000-01-01"), utc("2026-03-02 12:00")
    seconds = (now - utc("1970-01-01")) // timedelta(seconds=1) + 1
    before = time.process_time()
    assert count_instants(each_second, after=since, through=now) == seconds
    assert count_instants(half, after=since, through=now) == 2 * seconds - 1
    assert latest_but(each_second, 10**9, at=now) == now - timedelta(seconds=10**9)
    assert time.process_time() - before < 10, "walking takes hours"
