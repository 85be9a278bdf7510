"""Windows of data, cut by a schedule's instants.

The instants of a schedule are the edges; a window is what lies between two that follow each other. So
windows meet without gap or overlap, also where daylight saving moves the instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from piko.core.types import DataInterval
from piko.schedule.instants import FIRST_INSTANT, LAST_INSTANT
from piko.schedule.schedule import Schedule


def without_bounds(schedule: Schedule) -> Schedule:
    """The instants that the expression names: bounds decide when a schedule fires, not which data exists."""
    return replace(schedule, start=FIRST_INSTANT, end=LAST_INSTANT)


def missing_windows(schedule: Schedule, *, watermark: datetime, now: datetime) -> Iterator[DataInterval]:
    """The windows from `watermark` to the last instant that is not after `now`, oldest first.

    Each begins where the one before ends, the first at the watermark, whether or not that is an instant of
    the schedule.
    """
    start = watermark.astimezone(UTC)
    for end in schedule.between(watermark, now):
        yield DataInterval(start=start, end=end)
        start = end


def window_ending_at(schedule: Schedule, instant: datetime) -> DataInterval | None:
    """The full window that ends at `instant`, or None where nothing says where it begins.

    Bounds decide when a schedule fires, not which data exists: the window of the first instant reaches
    back to the one that the expression names before it.
    """
    start = schedule.unbounded_before(instant)
    return None if start is None else DataInterval(start=start, end=instant.astimezone(UTC))


def latest_window(schedule: Schedule, *, now: datetime) -> DataInterval | None:
    """The full window that ends at the last instant not after `now`, or None when there is none."""
    latest = schedule.latest_at(now)
    return None if latest is None else window_ending_at(schedule, latest)
