"""Daylight saving: a table of truth, cronsim, and a clock that is read minute by minute."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from functools import cache
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.schedule import Schedule, missing_windows, parse_schedule
from piko.schedule.zones import load_zone, segment_at
from tests.schedule.making import EDGES, MICROSECOND, cron, fields, local_start, take

_BLOCKS = yaml.safe_load(Path(__file__).with_name("daylight_saving.yaml").read_text())
_ROWS = [
    pytest.param(
        block["zone"], block["after"], row["cron"], row["fires"], id=f"{block['block']}: {row['claim']}"
    )
    for block in _BLOCKS
    for row in block["rows"]
]


@pytest.mark.parametrize(("zone", "after", "expression", "fires"), _ROWS)
def test_the_table_of_truth(zone: str, after: str, expression: Any, fires: list[str]) -> None:
    schedule = cron(expression, zone)
    instants = take(schedule, len(fires), after=datetime.fromisoformat(after))
    assert [i.astimezone(ZoneInfo(zone)).isoformat() for i in instants] == fires
    # and back again
    back = instants[-1] + MICROSECOND
    for expected in reversed(instants):
        found = schedule.latest_at(back)
        assert found == expected
        back = expected - MICROSECOND


# ---- cronsim ----

_numbers = {
    high: st.lists(st.integers(0, high), min_size=1, max_size=3).map(lambda n: ",".join(map(str, n)))
    for high in (23, 59)
}
_days = st.sampled_from(["* * *", "* * sun", "* 3,4,10 *", "1-20 * *", "* * 5#4", "29 3 *", "*/2 * *"])


@given(minute=_numbers[59], hour=_numbers[23], days=_days)
@settings(max_examples=300)
def test_fixed_times_are_as_in_cronsim(minute: str, hour: str, days: str) -> None:
    expression = f"{minute} {hour} {days}"
    for zone, edge in EDGES:
        start = local_start(edge, zone)
        simulated = CronSim(expression, start.astimezone(ZoneInfo(zone)))
        assert take(cron(expression, zone), 8, after=start) == [
            i.astimezone(UTC) for i in islice(simulated, 8)
        ]


@given(
    minute=st.one_of(fields(0, 59), st.just("*/20")),
    hour=st.one_of(st.just("*"), st.just("*/2"), st.just("0-4"), fields(0, 23)),
    days=_days,
)
@settings(max_examples=300)
def test_elapsed_time_is_as_in_cronsim(minute: str, hour: str, days: str) -> None:
    """Cronsim keeps real time where hour or minute begin with a star; with six fields it always does.

    Two zones are left out, which the clock below reads minute by minute: where the change is half an hour,
    cronsim goes from hour to hour and steps over the second pass; where a midnight does not exist, it takes
    the instant after the gap for hour 0.
    """
    if not any(sign in minute + hour for sign in "*-/"):
        minute = f"*/{int(minute.split(',')[0]) or 1}"
    expression = f"0 {minute} {hour} {days}"
    for zone, edge in EDGES:
        if zone in ("Australia/Lord_Howe", "America/Santiago"):
            continue
        start = local_start(edge, zone)
        simulated = CronSim(expression, start.astimezone(ZoneInfo(zone)))
        assert take(cron(expression, zone), 8, after=start) == [
            i.astimezone(UTC) for i in islice(simulated, 8)
        ]


# ---- a clock, minute by minute ----


@given(
    minutes=st.sets(st.integers(0, 59), min_size=1, max_size=4),
    hours=st.one_of(st.just(set(range(24))), st.sets(st.integers(0, 23), min_size=1, max_size=4)),
    edge=st.sampled_from(EDGES),
)
@settings(max_examples=200)
def test_the_clock_on_the_wall_agrees(minutes: set[int], hours: set[int], edge: tuple[str, str]) -> None:
    shown, seen, furthest = _clock(*edge)
    after, through = shown[0] - MICROSECOND, shown[-1]
    minute, hour = (",".join(map(str, sorted(values))) for values in (minutes, hours))

    # `a-a` names nothing new, but a range keeps elapsed time
    elapsed = cron(f"{minute} {hour},{min(hours)}-{min(hours)} * * *", edge[0])
    matching = [i for i, at in zip(shown, seen, strict=True) if at.minute in minutes and at.hour in hours]
    assert list(elapsed.between(after, through)) == matching
    _looks_back(elapsed, matching, shown)

    # a fixed time comes where the clock first shows it or a later one
    fixed = cron(f"{minute} {hour} * * *", edge[0])
    wanted = [
        seen[0] + timedelta(days=day, hours=h, minutes=m) for day in range(5) for h in hours for m in minutes
    ]
    places = {bisect_left(furthest, wall) for wall in wanted}
    expected = [shown[place] for place in sorted(places) if place < len(shown)]
    assert list(fixed.between(after, through)) == expected
    _looks_back(fixed, expected, shown)


def _looks_back(made: Schedule, expected: list[datetime], shown: list[datetime]) -> None:
    for instant in shown[::7]:
        place = bisect_right(expected, instant)
        if place:
            assert made.latest_at(instant) == expected[place - 1]


@cache
def _clock(zone: str, edge: str) -> tuple[list[datetime], list[datetime], list[datetime]]:
    """Three days of minutes in UTC, what the clock shows at each, and the latest it has shown by then."""
    start = local_start(edge, zone)
    shown = [start + timedelta(minutes=n) for n in range(3 * 24 * 60)]
    seen = [i.astimezone(ZoneInfo(zone)).replace(tzinfo=None) for i in shown]
    return shown, seen, list(accumulate(seen, max))


@pytest.mark.parametrize(("zone", "edge"), EDGES)
def test_a_fixed_time_comes_once_a_day_all_year(zone: str, edge: str) -> None:
    start = local_start(edge, zone, days_before=180)
    for hour in range(24):
        instants = take(cron(f"30 {hour} * * *", zone), 365, after=start)
        days = {i.astimezone(ZoneInfo(zone)).date() for i in instants}
        # the day that Apia left out came, at the first instant of the next
        assert len(days) == 365 - (date(2011, 12, 30) in _dates(instants, zone))


def _dates(instants: list[datetime], zone: str) -> set[date]:
    """The dates between the first and the last instant that no clock in `zone` shows."""
    shown = {i.astimezone(ZoneInfo(zone)).date() for i in instants}
    span = range(min(shown).toordinal(), max(shown).toordinal())
    return {date.fromordinal(day) for day in span} - shown


@pytest.mark.parametrize(("zone", "edge"), EDGES)
@pytest.mark.parametrize(
    "expression", ["30 2 * * *", "30 * * * *", "*/7 1-3 * * *", "0 0 * * *", "15 1,2,3 * * *"]
)
def test_windows_meet_across_the_change(expression: str, zone: str, edge: str) -> None:
    start = local_start(edge, zone, days_before=2)
    end = start + timedelta(days=5)
    schedule = cron(expression, zone)
    windows = list(missing_windows(schedule, watermark=start, now=end))
    assert windows[0].start == start
    assert all(a.end == b.start for a, b in pairwise(windows))
    assert all(w.start < w.end for w in windows)
    assert windows[-1].end == schedule.latest_at(end)


@pytest.mark.parametrize("zone", sorted({zone for zone, _ in EDGES}))
def test_every_change_of_a_zone_is_found(zone: str) -> None:
    """Hour by hour through some years, the segments know the offset."""
    place = load_zone(zone)
    for hour in range(24 * 366 * 3):
        instant = datetime(2010, 6, 1, tzinfo=UTC) + timedelta(hours=hour)
        second = int(instant.timestamp())
        segment = segment_at(place, second)
        assert segment.start <= second < segment.end
        assert timedelta(seconds=segment.offset) == instant.astimezone(place).utcoffset()


@pytest.mark.parametrize(
    ("zone", "year"),
    [
        ("Asia/Gaza", 2035),
        ("Asia/Gaza", 2050),
        ("Asia/Gaza", 2070),
        ("America/Recife", 1999),
        ("America/Noronha", 1999),
        ("America/Boa_Vista", 1999),
        ("America/Argentina/Tucuman", 2003),
    ],
)
def test_two_changes_within_a_week_are_both_found(zone: str, year: int) -> None:
    place = load_zone(zone)
    start = datetime(year, 1, 1, 12, tzinfo=UTC)
    for day in range(366 * 6):
        instant = start + timedelta(days=day)
        offset = segment_at(place, int(instant.timestamp())).offset
        assert timedelta(seconds=offset) == instant.astimezone(place).utcoffset()


@pytest.mark.parametrize(
    ("expression", "latest"),
    [
        ("45 2 25 10 *", "2026-10-25T02:45:00+02:00"),
        ("45/15 2 25 10 *", "2026-10-25T02:45:00+02:00"),
        ("10/60 2 25 10 *", "2026-10-25T02:10:00+01:00"),
        ("10 2 25 10 *", "2026-10-25T02:10:00+02:00"),
    ],
)
def test_looking_back_from_the_second_pass_finds_the_first(expression: str, latest: str) -> None:
    found = cron(expression, "Europe/Berlin").latest_at(datetime.fromisoformat("2026-10-25T02:15:00+01:00"))
    assert found is not None
    assert found.astimezone(ZoneInfo("Europe/Berlin")).isoformat() == latest


@pytest.mark.parametrize(
    ("wall", "instant"),
    [("2026-03-29 02:30:00", "2026-03-29T01:00:00+00:00"), ("2026-10-25 02:30", "2026-10-25T00:30:00+00:00")],
)
def test_a_date_follows_the_rule_of_fixed_times(wall: str, instant: str) -> None:
    once = parse_schedule(
        job_id="job",
        schedule_type="date",
        schedule_expr=f'{{"run_date": "{wall}"}}',
        timezone="Europe/Berlin",
    )
    assert once.next_after(datetime(2026, 1, 1, tzinfo=UTC)) == datetime.fromisoformat(instant)
