"""Deadlines, against a walk that knows nothing of triggers: it asks of each second whether it is due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.schedule.deadlines import deadline_after, later
from tests.schedule.making import CHANGES, cron, local_start, schedule, starts, utc

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


# ---- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "zone", "reached", "deadline"),
    [
        pytest.param("0 6 * * mon-fri", "UTC", "2026-01-09 06:00", "2026-01-12 08:00", id="over a weekend"),
        pytest.param("0 6 * * mon-fri", "UTC", "2026-01-09 05:59", "2026-01-09 08:00", id="on the day"),
        pytest.param("0 * * * *", "UTC", "2026-01-09 06:30", "2026-01-09 09:00", id="between due times"),
        pytest.param("30 2 * * *", "Europe/Berlin", "2026-03-28 02:00", "2026-03-29 03:00", id="in the gap"),
        pytest.param("30 2 * * *", "Europe/Berlin", "2026-10-24 01:00", "2026-10-25 02:30", id="in the fold"),
        pytest.param("0 0 29 2 *", "UTC", "2024-02-29 00:00", "2028-02-29 02:00", id="in a leap year"),
    ],
)
def test_a_deadline_is_a_while_after_the_next_due_time(
    expression: str, zone: str, reached: str, deadline: str
) -> None:
    found = deadline_after(cron(expression, zone), utc(reached), within_s=7200)
    assert found == utc(deadline)


def test_bounds_decide_which_due_times_there_are() -> None:
    within = cron("0 6 * * *", start_at=utc("2026-02-01"), end_at=utc("2026-02-03"))
    assert deadline_after(within, utc("2025-01-01"), within_s=60) == utc("2026-02-01 06:01")
    assert deadline_after(within, utc("2026-02-01 06:00"), within_s=60) == utc("2026-02-02 06:01")
    assert deadline_after(within, utc("2026-02-02 06:00"), within_s=60) is None


def test_a_date_that_succeeded_has_no_deadline() -> None:
    once = schedule("date", {"run_date": "2026-01-08 10:00:00"})
    assert deadline_after(once, utc("2026-01-01"), within_s=60) == utc("2026-01-08 10:01")
    assert deadline_after(once, utc("2026-01-08 10:00:05"), within_s=60) is None


def test_a_deadline_stays_within_the_calendar() -> None:
    assert later(utc("9999-12-31 23:00"), 10**10).year == 9999
    assert deadline_after(cron("0 0 1 1 *"), utc("0001-01-01"), within_s=0.5) == utc("1970-01-01 00:00:00.5")


# ---- law ------------------------------------------------------------------------------------------


@st.composite
def due_days(draw: st.DrawFn) -> tuple[str, set[int], set[int], set[str]]:
    """A cron text whose hour or minute is a list, and what it says: minutes, hours, weekdays."""
    minutes = draw(st.sets(st.integers(0, 59), min_size=1, max_size=3))
    hours = draw(st.sets(st.integers(0, 23), min_size=2, max_size=4))
    days = draw(st.one_of(st.just(set(WEEKDAYS)), st.sets(st.sampled_from(WEEKDAYS), min_size=1, max_size=5)))
    numbers = [",".join(map(str, sorted(values))) for values in (minutes, hours)]
    weekdays = "*" if len(days) == len(WEEKDAYS) else ",".join(sorted(days))
    return f"{numbers[0]} {numbers[1]} * * {weekdays}", minutes, hours, days


def walked(
    reached: datetime, zone: ZoneInfo, minutes: set[int], hours: set[int], days: set[str]
) -> datetime | None:
    """The first minute after `reached` whose wall time in `zone` is due, asked one by one.

    Fixed times of a day fire once: not in the second pass of an hour that the clocks show twice, and at the
    first instant after a gap for what the gap swallowed.
    """
    minute = reached.replace(second=0, microsecond=0)
    wall_before = minute.astimezone(zone).replace(tzinfo=None)
    for _ in range(60 * 24 * 15):
        minute += timedelta(minutes=1)
        local = minute.astimezone(zone)
        wall = local.replace(tzinfo=None)
        shown = wall_before + timedelta(minutes=1)
        gap = [shown + timedelta(minutes=n) for n in range(int((wall - shown) / timedelta(minutes=1)))]
        wall_before = wall
        if local.fold == 1 and wall.replace(tzinfo=zone, fold=0).astimezone(UTC) != minute:
            continue
        for candidate in (*gap, wall):
            name = WEEKDAYS[candidate.weekday()]
            if candidate.minute in minutes and candidate.hour in hours and name in days:
                return minute
    return None


@pytest.mark.usefixtures("slow")
@settings(deadline=None, max_examples=5000)
@given(
    form=due_days(),
    place=st.sampled_from([(zone, date) for zone, dates in CHANGES.items() for date in dates]),
    before=st.timedeltas(timedelta(0), timedelta(days=9)),
    within_s=st.integers(1, 10**6),
)
def test_a_deadline_is_what_a_walk_through_the_minutes_finds(
    form: tuple[str, set[int], set[int], set[str]],
    place: tuple[str, str],
    before: timedelta,
    within_s: int,
) -> None:
    text, minutes, hours, days = form
    zone, date = place
    reached = local_start(date, zone, days_before=-2) - before
    due = walked(reached, ZoneInfo(zone), minutes, hours, days)
    expected = None if due is None else due + timedelta(seconds=within_s)
    assert deadline_after(cron(text, zone), reached, within_s=within_s) == expected


@settings(deadline=None, max_examples=2000)
@given(
    period=st.integers(1, 10**6),
    reached=starts,
    within_s=st.floats(0.001, 10**7),
)
def test_the_deadline_of_an_interval_is_counted_from_the_next_point_of_its_grid(
    period: int, reached: datetime, within_s: float
) -> None:
    elapsed = (reached - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=period)
    due = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=period) * (elapsed + 1)
    found = deadline_after(schedule("interval", {"seconds": period}), reached, within_s=within_s)
    assert found == due + timedelta(seconds=within_s)
