"""Jitter: when a run starts, after its scheduled time."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from itertools import islice, pairwise

from piko.schedule.hashing import hashed_below
from piko.schedule.instants import LAST_INSTANT, SECOND, to_datetime, to_microseconds
from piko.schedule.refusal import refusal
from piko.schedule.schedule import Schedule

LONGEST_JITTER_S = 86_400.0
_NONE = timedelta()
_SAMPLED = 60
_MOST_MIXED = 1_000


def start_offset(*, job_id: str, scheduled_time: datetime, jitter_s: float) -> timedelta:
    """How long after `scheduled_time` this run starts: at least 0, and less than `jitter_s` seconds.

    It is hashed from the job and the instant, so every replica finds the same, and the runs of one job as
    well as the jobs of one instant are spread evenly. Raises `ScheduleError` when `jitter_s` is not
    between 0 and a day.
    """
    if not (math.isfinite(jitter_s) and 0 <= jitter_s <= LONGEST_JITTER_S):
        raise refusal(
            "is not a usable jitter",
            where="jitter_s",
            value=jitter_s,
            expected=f"seconds from 0 to {LONGEST_JITTER_S:.0f}",
        )
    if not jitter_s:
        return _NONE
    salt = f"jitter\0{job_id}\0{to_microseconds(scheduled_time)}"
    return timedelta(microseconds=hashed_below(round(jitter_s * SECOND), salt=salt))


def jitter_warning(schedule: Schedule, *, jitter_s: float, coalesce: bool, since: datetime) -> str | None:
    """A warning about a jitter that reorders the instants of `schedule`; None if it does not.

    If jitter can move the start of one instant past that of the next, several become due together although
    none was late, and `coalesce` drops all but one. The instants after `since` are examined. Raises
    `ScheduleError` if jitter reorders so many that finding the due one would take long.
    """
    if not coalesce or jitter_s <= 0:
        return None
    instants = islice(schedule.between(since, to_datetime(LAST_INSTANT)), _SAMPLED)
    shortest = min((later - earlier for earlier, later in pairwise(instants)), default=None)
    if shortest is None or jitter_s <= shortest.total_seconds():
        return None
    if jitter_s > _MOST_MIXED * shortest.total_seconds():
        raise refusal(
            f"is more than {_MOST_MIXED} times the {shortest.total_seconds():g} s between instants",
            where="jitter_s",
            value=jitter_s,
            expected="less than the time between two instants, or coalesce = 0",
        )
    return (
        f"jitter_s = {jitter_s:g} is longer than the {shortest.total_seconds():g} s between instants, so "
        "that coalesce skips instants that were not late; make jitter_s shorter than that, or set "
        "coalesce to 0"
    )
