"""By when a job has to have done something: a due time, and the time that it may take from there.

A deadline follows from the schedule and from how far the job has come, and from nothing else. So anybody who
can read the rows knows it, with or without a leader; a failed run does not move it, and a weekday schedule
has none on a Sunday, because the next due time after Friday's is on Monday.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from piko.schedule.instants import LAST_INSTANT, to_datetime, to_microseconds
from piko.schedule.schedule import Schedule

_LAST = to_datetime(LAST_INSTANT)


def deadline_after(schedule: Schedule, reached: datetime, *, within_s: float) -> datetime | None:
    """`within_s` seconds after the first due time after `reached`; None: there is no such due time.

    A deadline beyond the year 9999 is its last instant.
    """
    due = schedule.next_after(reached)
    return None if due is None else later(due, within_s)


def later(instant: datetime, seconds: float) -> datetime:
    """`instant` and so many seconds, in the year 9999 at the latest."""
    room_s = (LAST_INSTANT - to_microseconds(instant)) / 1_000_000
    return _LAST if seconds >= room_s else instant + timedelta(seconds=seconds)
