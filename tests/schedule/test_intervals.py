"""Intervals and dates: a grid that never moves, and one instant."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.errors import ScheduleError
from tests.schedule.making import MICROSECOND, schedule, starts, take, utc

EPOCH = utc("1970-01-01")


def interval(expression: Any, zone: str = "UTC", **bounds: Any) -> Any:
    return schedule("interval", expression, zone, **bounds)


@pytest.mark.parametrize(
    ("expression", "seconds"),
    [
        ({"seconds": 10}, 10),
        ({"seconds": 0.5}, 0.5),
        ({"seconds": 0.1}, 0.1),
        ({"seconds": 1.000001}, 1.000001),
        ({"minutes": 5}, 300),
        ({"hours": 1, "minutes": 30}, 5400),
        ({"weeks": 1, "days": 1, "hours": 1, "minutes": 1, "seconds": 1}, 694_861),
        ({"hours": 0, "seconds": 1}, 1),
        ({"days": 36_500}, 36_500 * 86_400),
        ({"every": "10s"}, 10),
        ({"every": "500ms"}, 0.5),
        ({"every": "1h30m"}, 5400),
        ({"every": "1.5h"}, 5400),
        ({"every": "1m30s500ms"}, 90.5),
        ({"every": "90m"}, 5400),
        ({"every": "1d"}, 86_400),
        ({"every": "1d12h"}, 129_600),
        ({"every": "36500d"}, 36_500 * 86_400),
    ],
)
def test_an_interval_is_this_long(expression: dict[str, Any], seconds: float) -> None:
    first, second = take(interval(expression), 2, after=utc("1970-01-02"))
    assert second - first == timedelta(seconds=seconds)


def test_both_forms_of_one_length_are_the_same_schedule() -> None:
    assert interval({"every": "1h30m"}).fingerprint == interval({"hours": 1, "minutes": 30}).fingerprint


@given(
    seconds=st.integers(1, 10**7),
    start=starts,
    anchor=st.one_of(st.none(), starts),
)
@settings(max_examples=300)
def test_the_grid_laws(seconds: int, start: datetime, anchor: datetime | None) -> None:
    period = timedelta(seconds=seconds)
    origin = anchor or EPOCH
    text = {"start_date": f"{anchor:%Y-%m-%dT%H:%M:%S.%f}"} if anchor else {}
    grid = interval({"seconds": seconds, **text})
    instants = take(grid, 3, after=start)
    # on the grid, a period apart, the first one less than a period away or at the origin
    assert all((i - origin) % period == timedelta(0) for i in instants)
    assert instants[1] - instants[0] == instants[2] - instants[1] == period
    assert start < instants[0] <= max(start + period, origin)
    assert instants[0] >= origin
    # every caller, with any start, gets the same instants
    assert grid.next_after(instants[1] - MICROSECOND) == instants[1]
    assert grid.latest_at(instants[1] + MICROSECOND) == instants[1]
    assert grid.latest_at(instants[1]) == instants[1]


def test_a_daily_interval_does_not_depend_on_when_it_was_read() -> None:
    daily = interval({"days": 1})
    for hour in range(24):
        assert daily.next_after(utc("2026-01-01") + timedelta(hours=hour)) == utc("2026-01-02")


def test_the_own_bounds_are_in_the_schedules_zone_and_included() -> None:
    bounded = interval(
        {"hours": 1, "start_date": "2026-01-01 08:00:00", "end_date": "2026-01-01 10:00:00"}, "Asia/Shanghai"
    )
    expected = [utc(f"2026-01-01 0{hour}:00") for hour in range(3)]
    assert take(bounded, 5, after=utc("2025-01-01")) == expected
    assert bounded.latest_at(utc("2030-01-01")) == expected[-1]
    assert bounded.latest_at(utc("2025-12-31")) is None


def test_bounds_may_carry_an_offset() -> None:
    bounded = interval(
        {"hours": 1, "start_date": "2026-01-01T08:30:00+02:00", "end_date": "2026-01-01T08:00:00Z"}
    )
    assert take(bounded, 5, after=utc("2025-01-01")) == [utc("2026-01-01 06:30"), utc("2026-01-01 07:30")]


def test_the_narrower_of_two_bounds_counts() -> None:
    both = interval(
        {"hours": 1, "start_date": "2026-01-01 00:30"},
        start_at=utc("2026-01-02"),
        end_at=utc("2026-01-02 02:00"),
    )
    assert take(both, 5, after=utc("2025-01-01")) == [utc("2026-01-02 00:30"), utc("2026-01-02 01:30")]


def test_daylight_saving_does_not_touch_an_interval() -> None:
    hourly = interval({"hours": 1}, "Europe/Berlin")
    instants = list(hourly.between(utc("2026-10-24 22:00"), utc("2026-10-25 22:00")))
    assert len(instants) == 24


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"seconds": 0}, "is zero"),
        ({"seconds": -5}, "is negative"),
        ({"hours": 1, "seconds": -5}, "interval, seconds = -5: is negative"),
        ({"seconds": 0.05}, "is too short"),
        ({"every": "99ms"}, "is too short"),
        ({"seconds": 0.1234567}, "is finer than a microsecond"),
        ({"every": "1.0000001s"}, "is finer than a microsecond"),
        ({"minutes": 0.5}, 'write {"seconds": 30}'),
        ({"days": 36_501}, "is too long"),
        ({"weeks": 10**30}, "is too long"),
        ({"every": "9" * 30 + "h"}, "is too long"),
        ({"seconds": "10"}, "interval, seconds = '10': is not a number"),
        ({"seconds": True}, "interval, seconds = true: is not a number"),
        ({"seconds": None}, "interval, seconds = null: is not a number"),
        ({"every": "10"}, "is not a duration"),
        ({"every": "1w"}, 'for weeks write {"weeks": 1}'),
        ({"every": "1.5d"}, "whole days with d, then numbers with ms, s, m or h"),
        ({"every": "12h1d"}, "is not a duration"),
        ({"every": "0d"}, "is zero"),
        ({"every": "36501d"}, "is too long"),
        ({"every": "-1h"}, "is not a duration"),
        ({"every": ""}, "is not a duration"),
        ({"every": 10}, "is not a duration"),
        ({"every": "1" * 100 + "h"}, "is not a duration"),
        ({"every": "10s", "seconds": 10}, "has both every and units"),
        ({}, "has no length"),
        ({"start_date": "2026-01-01"}, "has no length"),
        ({"second": 10}, "is not a part of an interval"),
        ({"seconds": 10, "start_date": "soon"}, "interval, start_date = 'soon': is not an instant"),
        ({"seconds": 10, "start_date": "2026-02-30"}, "names a day that does not exist"),
        ({"seconds": 10, "start_date": "2026-01-01 24:00"}, "names a time that does not exist"),
        (
            {"seconds": 10, "start_date": "2026-01-02", "end_date": "2026-01-01"},
            "its end lies before its start",
        ),
        (
            {"hours": 24, "start_date": "2026-01-01", "end_date": "2026-01-01", "seconds": 1},
            None,
        ),
    ],
)
def test_a_wrong_interval_is_refused(expression: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert take(interval(expression), 2, after=EPOCH) == [utc("2026-01-01")]
        return
    with pytest.raises(ScheduleError) as raised:
        interval(expression)
    assert message in str(raised.value)


def test_a_window_between_two_instants_is_refused() -> None:
    with pytest.raises(ScheduleError, match="never fires from 2026-01-01T00:30:00Z to 2026-01-01T00:40:00Z"):
        interval({"hours": 1}, start_at=utc("2026-01-01 00:30"), end_at=utc("2026-01-01 00:40"))


# ---- dates ----


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-01-08 10:00:00", "UTC", "2026-01-08 10:00"),
        ("2026-01-08 10:00:00", "Asia/Shanghai", "2026-01-08 02:00"),
        ("2026-01-08T10:00:00+01:00", "Asia/Shanghai", "2026-01-08 09:00"),
        ("2026-01-08T10:00:00-01:30", "UTC", "2026-01-08 11:30"),
        ("2026-01-08T10:00:00Z", "Asia/Shanghai", "2026-01-08 10:00"),
        ("2026-01-08 10:00", "UTC", "2026-01-08 10:00"),
        ("2026-01-08", "Asia/Shanghai", "2026-01-07 16:00"),
        ("2026-01-08 10:00:00.25", "UTC", "2026-01-08 10:00:00.250000"),
        ("9999-12-31 23:59:59.999999", "UTC", "9999-12-31 23:59:59.999999"),
        ("1970-01-01", "UTC", "1970-01-01"),
    ],
)
def test_a_date_fires_once(text: str, zone: str, expected: str) -> None:
    once = schedule("date", {"run_date": text}, zone)
    instant = utc(expected)
    assert once.fires_once
    assert once.latest_at(instant) == instant
    assert once.next_after(instant) is None
    if instant > EPOCH:
        assert once.next_after(instant - MICROSECOND) == instant
        assert once.latest_at(instant - MICROSECOND) is None


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"run_date": "tomorrow"}, "run_date = 'tomorrow': is not an instant"),
        ({"run_date": None}, "run_date = null: is not an instant"),
        ({"run_date": 1767866400}, "is not an instant"),
        ({"run_date": "2026-02-30"}, "names a day that does not exist"),
        ({"run_date": "0000-01-01"}, "names a day that does not exist"),
        ({"run_date": "1969-12-31"}, "is out of range"),
        ({"run_date": "9999-12-31T23:00:00-02:00"}, "is out of range"),
        ({"run_date": "2026-01-08 10:00:60"}, "names a time that does not exist"),
        ({"run_date": "2026-01-08 10:00:00+24:00"}, "names a time that does not exist"),
        ({"date": "2026-01-08"}, "is not a date"),
        ({}, "is not a date"),
        ("2026-01-08", "is a text"),
    ],
)
def test_a_wrong_date_is_refused(expression: Any, message: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        schedule("date", expression)
    assert message in str(raised.value)


def test_a_date_out_of_its_bounds_is_refused() -> None:
    with pytest.raises(ScheduleError, match="never fires from"):
        schedule("date", {"run_date": "2026-01-08"}, start_at=utc("2026-01-09"))
