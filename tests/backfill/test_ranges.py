"""Which windows a range amounts to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from piko.core.types import DataInterval
from piko.decisions.backfill_range import MOST_WINDOWS, plan_range
from piko.decisions.backfill_windows import windows_within
from piko.errors import RefusedError
from piko.schedule import Schedule, parse_schedule

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(expression: str, kind: str = "cron", zone: str = "UTC", **bounds: datetime) -> Schedule:
    return parse_schedule(job_id="job", schedule_type=kind, schedule_expr=expression, timezone=zone, **bounds)


HOURLY = schedule('{"minute": 0}')


def test_the_windows_of_a_range_meet_and_fill_it() -> None:
    planned = plan_range(HOURLY, start=at("2026-01-01"), end=at("2026-01-02"), now=NOW)
    assert (planned.count, planned.left_out) == (24, ())
    assert all(a.end == b.start for a, b in pairwise(planned.windows))
    assert (planned.windows[0].start, planned.windows[-1].end) == (at("2026-01-01"), at("2026-01-02"))


def test_part_of_a_window_is_left_out_and_said() -> None:
    planned = plan_range(HOURLY, start=at("2026-01-01T00:20"), end=at("2026-01-01T03:40"), now=NOW)
    assert [(w.start.hour, w.end.hour) for w in planned.windows] == [(1, 2), (2, 3)]
    assert [(w.start.minute, w.end.minute) for w in planned.left_out] == [(20, 0), (0, 40)]


def test_bounds_decide_when_a_schedule_fires_not_which_data_exists() -> None:
    bounded = schedule('{"minute": 0}', start_at=at("2026-05-01"), end_at=at("2026-05-02"))
    planned = plan_range(bounded, start=at("2026-01-01"), end=at("2026-01-02"), now=NOW)
    assert planned.count == 24
    grid = schedule('{"hours": 1, "start_date": "2026-05-01"}', "interval")
    assert plan_range(grid, start=at("2026-01-01"), end=at("2026-01-02"), now=NOW).count == 24


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_a_day_on_which_clocks_change_has_its_own_number_of_hours(day: str, hours: int) -> None:
    daily = schedule("0 0 * * *".join('""'), zone="Europe/Berlin")
    start = datetime.fromisoformat(day).replace(tzinfo=daily.zone)
    end = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=daily.zone)
    planned = plan_range(daily, start=start, end=end, now=at("2026-12-01"))
    assert [window.end - window.start for window in planned.windows] == [timedelta(hours=hours)]


@pytest.mark.parametrize(
    ("frm", "to", "said"),
    [
        ("2026-01-02", "2026-01-01", "must lie before"),
        ("2026-01-02", "2026-01-02", "must lie before"),
        ("2026-05-31", "2026-06-01T00:00:01", "lies in the future"),
        ("2026-01-01T00:01", "2026-01-01T00:59", "no whole window"),
        ("2026-01-01T00:01", "2026-01-01T01:59", "no whole window"),
    ],
)
def test_nonsense_is_refused(frm: str, to: str, said: str) -> None:
    with pytest.raises(RefusedError, match=said):
        plan_range(HOURLY, start=at(frm), end=at(to), now=NOW)


def test_too_many_windows_are_refused_and_parts_proposed() -> None:
    every_second = schedule('{"seconds": 1}', "interval")
    start = at("2026-01-01")
    with pytest.raises(RefusedError, match="100,000 windows; the first 100,000 end at 2026-01-02T03:46:40Z"):
        plan_range(every_second, start=start, end=at("2026-05-01"), now=NOW)
    end = start + timedelta(seconds=MOST_WINDOWS)
    assert plan_range(every_second, start=start, end=end, now=NOW).count == MOST_WINDOWS


def test_a_date_has_no_windows() -> None:
    date = schedule('{"run_date": "2026-01-08"}', "date")
    with pytest.raises(RefusedError, match="has no windows"):
        plan_range(date, start=at("2026-01-01"), end=at("2026-02-01"), now=NOW)


@settings(max_examples=50)
@given(st.integers(1, 5000), st.integers(0, 100_000), st.integers(0, 100_000), st.integers(1, 20))
def test_taken_in_pieces_the_windows_are_the_same(seconds: int, start: int, length: int, piece: int) -> None:
    grid = schedule(f'{{"seconds": {seconds}}}', "interval")
    first = at("2026-01-01") + timedelta(seconds=start)
    last = first + timedelta(seconds=length)
    whole = list(islice(windows_within(grid, first, last), 200))
    pieces: list[DataInterval] = []
    place = whole[0].start if whole else last
    while len(pieces) < len(whole):
        taken = list(islice(windows_within(grid, place, last), piece))
        pieces.extend(taken)
        place = taken[-1].end
    assert pieces[: len(whole)] == whole
    assert all(first <= window.start < window.end <= last for window in whole)
