"""Jitter: when a run starts, after its scheduled time."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

from piko.schedule.hashing import hashed_below
from piko.schedule.instants import SECOND, to_microseconds
from piko.schedule.refusal import refusal

LONGEST_JITTER_S = 86_400.0


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
    salt = f"jitter\0{job_id}\0{to_microseconds(scheduled_time)}"
    return timedelta(microseconds=hashed_below(round(jitter_s * SECOND), salt=salt) if jitter_s else 0)
