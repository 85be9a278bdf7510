"""Objectives: what is promised of a job, how far it has come, and the deadlines that follow.

| objective | deadline |
|---|---|
| data | `data_within_s` after the first due time after the watermark or, stateless, the last success |
| start | `start_within_s` after the first due time whose run has not started |
| finish | `finish_within_s` after the first due time whose run has not ended |

The data of a stateful job that promises nothing is late, too, once it is more than one window behind:
`LATE_S` after the second due time after the watermark.

A job that has not succeeded yet is counted from the creation of its row. A backfill moves neither the
watermark nor the last success, so it moves no deadline. A pause does not move the first one either: data that
nobody makes gets old. But no run of a paused job has to start, so no due time to come counts for the other
two.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from piko.errors import ScheduleError
from piko.schedule import Schedule, schedule_of_row
from piko.schedule.deadlines import deadline_after, later
from piko.schedule.instants import LAST_INSTANT, to_datetime
from piko.schedule.parsing import HoldsSchedule
from piko.text import instant_text

LATE_S = 30.0
"""What was due longer ago than that, in seconds, is late where nothing else is promised."""
NEVER = to_datetime(LAST_INSTANT)
"""When data is late that cannot be."""


class ObjectiveKind(StrEnum):
    """What is promised by when."""

    DATA = "data"
    START = "start"
    FINISH = "finish"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """The instant by which a job has to have kept one of its objectives; from then on it is late."""

    kind: ObjectiveKind
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobObjective:
    """The objectives of a job, in seconds, with all that its deadlines follow from.

    - `timezone`: that of the row, else what its replicas say; None: neither does.
    - `last_data_time`, `last_success_at`: the watermark of a stateful job; the last success of any.
    - `cursor_at`: due times up to here have been handled.
    - `unstarted_since`, `unended_since`: the first due time of its runs in the queue that have not been tried
      yet, and of its runs that have not ended.
    """

    job_id: str
    schedule_type: str
    schedule_expr: str
    timezone: str | None
    start_at: datetime | None
    end_at: datetime | None
    enabled: bool
    stateful: bool
    data_within_s: float | None
    start_within_s: float | None
    finish_within_s: float | None
    created_at: datetime
    last_data_time: datetime | None
    last_success_at: datetime | None
    cursor_at: datetime | None
    unstarted_since: datetime | None = None
    unended_since: datetime | None = None

    @property
    def reached(self) -> datetime:
        """Up to where the data is done, as far as the objective is concerned."""
        if self.stateful:
            return self.created_at if self.last_data_time is None else self.last_data_time
        # The success of an earlier row of the job says nothing of due times before this row.
        return max(self.last_success_at or self.created_at, self.created_at)

    @property
    def due_after(self) -> datetime:
        """From where on due times have not been handled."""
        return max(self.cursor_at or self.created_at, self.created_at)


class ParsesRows(Protocol):
    """Gives the schedule of a row, as `schedule_of_row` does."""

    def __call__(self, row: HoldsSchedule, /, *, timezone: str) -> Schedule: ...


def deadlines(
    job: JobObjective, *, timezone: str = "UTC", parsed: ParsesRows = schedule_of_row
) -> list[Deadline]:
    """The deadline of each objective that has one now, the earliest first.

    A row that cannot be scheduled has none: its status says that it is invalid. `parsed` gives its schedule.
    """
    try:
        schedule = parsed(job, timezone=timezone)
    except ScheduleError:
        return []
    return sorted(_deadlines(job, schedule), key=lambda deadline: (deadline.at, deadline.kind))


def data_late_at(
    job: JobObjective, *, timezone: str = "UTC", parsed: ParsesRows = schedule_of_row
) -> datetime:
    """From when on the data of `job` is late if it comes no further than it has; `NEVER`: it cannot be late.

    Progress moves it on, and nothing but an edit brings it nearer. Whether a job that promises no data is
    paused, or cannot run, is left to those who ask: then its data is not late.
    """
    try:
        schedule = parsed(job, timezone=timezone)
    except ScheduleError:
        return NEVER
    if job.data_within_s is not None:
        return deadline_after(schedule, job.reached, within_s=job.data_within_s) or NEVER
    if not job.stateful or job.last_data_time is None:
        return NEVER
    second = a_window_behind(schedule, job.last_data_time)
    return NEVER if second is None else later(second, LATE_S)


def a_window_behind(schedule: Schedule, watermark: datetime) -> datetime | None:
    """When a watermark that stays where it is falls more than a window behind; None: it never does."""
    coming = schedule.next_two_after(watermark)
    return None if coming is None else coming[1]


def broken(job: JobObjective, deadline: Deadline) -> str:
    """What had to happen by a `deadline` that has passed, in one sentence."""
    when = instant_text(deadline.at, whole_seconds=True)
    paused = "" if job.enabled else "; the schedule is paused"
    if deadline.kind is ObjectiveKind.START:
        return f"a run had to start by {when}, and has not{paused}"
    if deadline.kind is ObjectiveKind.FINISH:
        return f"a run had to end by {when}, and has not{paused}"
    if job.stateful:
        reached = "no data is done yet"
        if job.last_data_time is not None:
            reached = f"its watermark is at {instant_text(job.last_data_time, whole_seconds=True)}"
    else:
        reached = "no run has succeeded yet"
        if job.last_success_at is not None:
            reached = f"the last success was at {instant_text(job.last_success_at, whole_seconds=True)}"
    return f"a run had to succeed by {when}, and {reached}{paused}"


def _deadlines(job: JobObjective, schedule: Schedule) -> Iterator[Deadline]:
    if job.data_within_s is not None:
        at = deadline_after(schedule, job.reached, within_s=job.data_within_s)
        if at is not None:
            yield Deadline(kind=ObjectiveKind.DATA, at=at)
    coming = schedule.next_after(job.due_after) if job.enabled else None
    for kind, within_s, since in (
        (ObjectiveKind.START, job.start_within_s, job.unstarted_since),
        (ObjectiveKind.FINISH, job.finish_within_s, job.unended_since),
    ):
        due = min((instant for instant in (coming, since) if instant is not None), default=None)
        if within_s is not None and due is not None:
            yield Deadline(kind=kind, at=later(due, within_s))
