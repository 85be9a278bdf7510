"""A range that someone asks for, and the windows that it amounts to: pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from piko.core.types import DataInterval
from piko.decisions.backfill_windows import windows_within
from piko.errors import RefusedError
from piko.schedule import Schedule, without_bounds
from piko.text import instant_text

MOST_WINDOWS = 100_000
_SHOWN = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRange:
    """The whole windows within a range, and what of the range lies in none of them."""

    start: datetime
    end: datetime
    count: int
    windows: tuple[DataInterval, ...]
    """The first ones, at most 1,000."""
    left_out: tuple[DataInterval, ...]
    """At either end of the range, where it does not begin or end with a window."""


def plan_range(schedule: Schedule, *, start: datetime, end: datetime, now: datetime) -> PlannedRange:
    """The windows of `schedule` that lie whole within `[start, end)`. Raises `RefusedError` where none do.

    Part of a window is never run: what a handler makes of a window would replace what it made of the whole.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    if start >= end:
        raise RefusedError(f"the start {instant_text(start)} must lie before the end {instant_text(end)}")
    if end > now:
        raise RefusedError(
            f"the end {instant_text(end)} lies in the future: the data of its windows is not complete yet; "
            f"ask for what ends by now, {instant_text(now)}"
        )
    count, windows, last = 0, [], None
    for last in windows_within(schedule, start, end):
        count += 1
        if count <= _SHOWN:
            windows.append(last)
        if count > MOST_WINDOWS:
            raise RefusedError(
                f"{instant_text(start)} to {instant_text(end)} holds more than {MOST_WINDOWS:,} windows; "
                f"the first {MOST_WINDOWS:,} end at {instant_text(last.start)}: ask for the range in parts"
            )
    if last is None:
        raise RefusedError(_no_windows(schedule, start, end))
    first = windows[0]
    edges = ((start, first.start), (last.end, end))
    return PlannedRange(
        start=first.start,
        end=last.end,
        count=count,
        windows=tuple(windows),
        left_out=tuple(DataInterval(start=a, end=b) for a, b in edges if a < b),
    )


def _no_windows(schedule: Schedule, start: datetime, end: datetime) -> str:
    if schedule.fires_once:
        return "the schedule is a date: it fires once and has no windows"
    unbounded = without_bounds(schedule)
    before, after = unbounded.latest_at(start), unbounded.next_after(start)
    known = (
        f"; the one that holds its beginning goes from {instant_text(before)} to {instant_text(after)}"
        if before is not None and after is not None
        else ""
    )
    return f"no whole window of the schedule lies from {instant_text(start)} to {instant_text(end)}{known}"
