"""Cron as fields: against APScheduler's cron trigger, whose grammar it is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.cron import CronTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.errors import ScheduleError
from tests.schedule.making import CHANGES, cron, fields, starts, take, utc

_POSITIONS = st.builds(
    "{} {}".format,
    st.sampled_from(["1st", "2nd", "3rd", "4th", "5th", "last", "Last"]),
    st.sampled_from(["mon", "tue", "wed", "thu", "fri", "sat", "sun", "FRI"]),
)
_DAYS = st.one_of(
    fields(1, 31), _POSITIONS, st.just("last"), st.builds("{}, {}".format, _POSITIONS, st.integers(1, 31))
)
_MONTHS = st.one_of(fields(1, 12), st.sampled_from(["jan", "feb", "mar-oct", "Jun,dec"]), st.integers(1, 12))
_WEEKDAYS = st.one_of(fields(0, 6), st.sampled_from(["mon", "mon-fri", "sat,sun", "TUE"]), st.integers(0, 6))
_YEARS = st.one_of(st.just("*"), st.sampled_from(["2030-2060", "*/2", "2024/3", "2031,2044", 2045]))
_FORMS = {
    "year": _YEARS,
    "month": _MONTHS,
    "day": _DAYS,
    "week": fields(1, 53),
    "day_of_week": _WEEKDAYS,
    "hour": st.one_of(fields(0, 23), st.integers(0, 23)),
    "minute": st.one_of(fields(0, 59), st.integers(0, 59)),
    "second": st.one_of(fields(0, 59), st.integers(0, 59)),
}
_EXPRESSIONS = st.sets(st.sampled_from(list(_FORMS)), min_size=1, max_size=4).flatmap(
    lambda names: st.fixed_dictionaries({name: _FORMS[name] for name in names})
)


def _theirs(trigger: CronTrigger, *, after: datetime, count: int) -> list[datetime]:
    found: list[datetime] = []
    now = after
    while len(found) < count:
        due = trigger.get_next_fire_time(None, now + timedelta(microseconds=1))
        if due is None or due.year > 2150:
            break
        found.append(due.astimezone(UTC))
        now = due
    return found


@given(
    expression=_EXPRESSIONS, start=starts, zone=st.sampled_from(["UTC", "Asia/Shanghai", "Asia/Kathmandu"])
)
@settings(max_examples=1000)
def test_the_instants_are_those_of_apscheduler(
    expression: dict[str, Any], start: datetime, zone: str
) -> None:
    try:
        ours = cron(expression, zone)
    except ScheduleError as error:
        if "never fires" not in str(error):
            raise
        return
    instants = [i for i in take(ours, 5, after=start) if i.astimezone(ZoneInfo(zone)).year <= 2150]
    bounded = CronTrigger(**expression, timezone=ZoneInfo(zone), end_date="2151-01-01")
    assert instants == _theirs(bounded, after=start.astimezone(ZoneInfo(zone)), count=5)


_TIMES = st.sets(
    st.sampled_from(["hour", "minute", "second", "day_of_week"]), min_size=1, max_size=3
).flatmap(lambda names: st.fixed_dictionaries({name: _FORMS[name] for name in names}))


@given(expression=_TIMES, zone=st.sampled_from(["Europe/Berlin", "America/New_York", "America/Santiago"]))
@settings(max_examples=100)
def test_a_zone_that_changes_its_clocks_is_as_apscheduler_on_all_other_days(
    expression: dict[str, Any], zone: str
) -> None:
    place = ZoneInfo(zone)
    trigger = CronTrigger(**expression, timezone=place)
    for change in CHANGES[zone]:
        for days in (-3, 2):
            start = (datetime.fromisoformat(change) + timedelta(days=days)).replace(tzinfo=place)
            end = start + timedelta(days=1)
            ours = take(cron(expression, zone), 4, after=start)
            theirs = _theirs(trigger, after=start, count=4)
            assert [i for i in ours if i < end] == [i for i in theirs if i < end]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        # what is left out: everything if coarser than the finest one given, else its minimum
        ({"minute": 0}, ["2026-01-01 01:00:00", "2026-01-01 02:00:00"]),
        ({"hour": 2, "minute": 30}, ["2026-01-01 02:30:00", "2026-01-02 02:30:00"]),
        ({"hour": 2}, ["2026-01-01 02:00:00", "2026-01-02 02:00:00"]),
        ({"second": 10}, ["2026-01-01 00:00:10", "2026-01-01 00:01:10"]),
        ({"day": 5}, ["2026-01-05 00:00:00", "2026-02-05 00:00:00"]),
        ({"month": 6}, ["2026-06-01 00:00:00", "2027-06-01 00:00:00"]),
        ({"year": 2030}, ["2030-01-01 00:00:00"]),
        ({"week": 10}, ["2026-03-02 00:00:00", "2026-03-03 00:00:00"]),
        ({"day_of_week": 0}, ["2026-01-05 00:00:00", "2026-01-12 00:00:00"]),
        ({"day_of_week": "sun"}, ["2026-01-04 00:00:00", "2026-01-11 00:00:00"]),
        ({"day": "last"}, ["2026-01-31 00:00:00", "2026-02-28 00:00:00"]),
        ({"day": "2nd fri"}, ["2026-01-09 00:00:00", "2026-02-13 00:00:00"]),
        ({"day": "last fri"}, ["2026-01-30 00:00:00", "2026-02-27 00:00:00"]),
        ({"day": "5th mon"}, ["2026-03-30 00:00:00", "2026-06-29 00:00:00"]),
        # all that are given must match
        ({"day": 13, "day_of_week": "fri"}, ["2026-02-13 00:00:00", "2026-03-13 00:00:00"]),
        ({"year": "2027-2028", "month": 2, "day": 29}, ["2028-02-29 00:00:00"]),
        # the first of January 1983 is in ISO week 52, that of 2005, a Saturday too, in week 53
        ({"year": "2005,1983", "month": 1, "day": 1, "week": 53}, ["2005-01-01 00:00:00"]),
        ({"minute": " 0 , 30 "}, ["2026-01-01 00:30:00", "2026-01-01 01:00:00"]),
    ],
)
def test_an_expression_means_these_instants(expression: dict[str, Any], expected: list[str]) -> None:
    after = utc("1980-01-01" if "1983" in str(expression) else "2026-01-01")
    assert take(cron(expression), len(expected), after=after) == [utc(text) for text in expected]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({"minute": 60}, "cron field minute (at character 1) = '60'"),
        ({"hour": "1, 25"}, "cron field hour (at character 4) = '25'"),
        ({"hour": -1}, "cron field hour (at character 1) = '-1'"),
        ({"month": "foo"}, "is not a known name"),
        ({"day_of_week": "fri-mon"}, "is a range that ends before it begins"),
        ({"day_of_week": "mon-fri/2"}, "a step goes with numbers, not with names"),
        ({"day_of_week": 7}, "is out of range"),
        ({"day": "6th fri"}, "is not accepted"),
        ({"day": "2nd foo"}, "is not accepted"),
        ({"day": "lastly"}, "is not accepted"),
        ({"minute": "*/0"}, "has a step that is not from 1 to 59"),
        ({"minute": "*/60"}, "has a step that is not from 1 to 59"),
        ({"minute": "5-10/6"}, "has a step that is not from 1 to 5"),
        ({"minute": ""}, "is not accepted"),
        ({"minute": "1,,2"}, "cron field minute (at character 3) = ''"),
        ({"minute": None}, "leave the field out"),
        ({"minute": True}, "is neither a whole number nor a text"),
        ({"minute": 1.5}, "is neither a whole number nor a text"),
        ({"minute": [1, 2]}, "write a list as a text"),
        ({"minutes": 5}, "cron field"),
        ({"start_date": "2026-01-01"}, "the columns start_at and end_at"),
        ({"cron": "* * * * *", "minute": 0}, "has a cron string and other keys"),
        ({"cron": 5}, "is a number"),
        ({}, "is empty"),
        ({"year": 1969}, "is out of range"),
        ({"year": 10000}, "is out of range"),
        ({"month": 2, "day": 30}, "never fires"),
        ({"week": 53, "month": 6}, "never fires"),
        ({"year": 2026, "week": 53, "month": 12, "day": 27}, "never fires"),
        ({"year": 2027, "month": 2, "day": 29}, "never fires"),
        ({"month": 2, "day": "5th mon", "year": 2027}, "never fires"),
        ({"minute": "1," * 300}, "has 600 characters"),
    ],
)
def test_a_wrong_expression_is_refused_with_its_place(expression: dict[str, Any], message: str) -> None:
    with pytest.raises(ScheduleError) as raised:
        cron(expression)
    assert message in str(raised.value)


def test_a_time_that_exists_in_no_year_is_refused() -> None:
    """Elapsed time skips the gap, and this is all that the expression names."""
    gap = {"year": 2026, "month": 3, "day": 29, "hour": 2, "minute": "*/5"}
    with pytest.raises(ScheduleError, match="never fires"):
        cron(gap, "Europe/Berlin")
    assert len(take(cron(gap, "UTC"), 20, after=utc("2026-01-01"))) == 12


def test_a_year_that_is_over_is_refused_when_the_bounds_say_so() -> None:
    with pytest.raises(ScheduleError, match="its last instant is 2020-12-31T00:00:00Z"):
        cron({"year": 2020, "day": "*"}, start_at=utc("2026-01-01"))
    assert cron({"year": 2020, "day": "*"}).next_after(utc("2026-01-01")) is None
