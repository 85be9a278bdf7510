"""The windows of a backfill, by the schedule that it was asked for with: pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from piko.core.types import DataInterval
from piko.model.backfills import Backfill
from piko.schedule import Schedule, parse_schedule, without_bounds


def windows_within(schedule: Schedule, start: datetime, end: datetime) -> Iterator[DataInterval]:
    """The whole windows of `schedule` in `[start, end]`, oldest first, whatever its bounds."""
    edges = without_bounds(schedule).between(start - timedelta(microseconds=1), end)
    return (DataInterval(start=earlier, end=later) for earlier, later in pairwise(edges))


def schedule_of(request: Backfill) -> Schedule:
    """The schedule that a request was made with. Raises `ScheduleError`."""
    return parse_schedule(
        job_id=request.job_id,
        schedule_type=request.schedule_type,
        schedule_expr=request.schedule_expr,
        timezone=request.timezone,
    )
