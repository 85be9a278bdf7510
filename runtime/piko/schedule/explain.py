"""What a schedule means, for a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from piko.schedule.instants import to_datetime
from piko.schedule.schedule import Schedule

MOST_INSTANTS = 1000


@dataclass(frozen=True, slots=True)
class ExplainedInstant:
    """One instant of a schedule, in UTC and as the clock in the schedule's zone shows it."""

    instant: datetime
    local: datetime


@dataclass(frozen=True, slots=True)
class Explanation:
    """A schedule in words."""

    sentence: str
    instants: tuple[ExplainedInstant, ...]
    remarks: tuple[str, ...]


def explain(schedule: Schedule, *, now: datetime, count: int = 5) -> Explanation:
    """What `schedule` means, and its next `count` instants after `now`."""
    end = to_datetime(schedule.end)
    instants = islice(schedule.between(now, end), min(count, MOST_INSTANTS))
    return Explanation(
        sentence=f"{schedule.kind} {schedule.expression} in {schedule.zone.key}",
        instants=tuple(ExplainedInstant(i, i.astimezone(schedule.zone)) for i in instants),
        remarks=(),
    )
