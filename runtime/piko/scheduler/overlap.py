"""What happens to instants that are due while runs of their job are in progress: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.core.types import OverlapPolicy
from piko.scheduler.due import Span
from piko.scheduler.plan import PlannedJob
from piko.scheduler.room import Room
from piko.store.run_rows import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Which instants start, which wait, which do not run; and which earlier runs make way for them."""

    start: Sequence[datetime] = ()
    wait: Sequence[datetime] = ()
    skipped: Span | None = None
    replaced: Sequence[Run] = ()
    """Runs in progress that are cancelled."""
    superseded: Sequence[Run] = ()
    """Waiting runs that will not start."""


def admit(
    job: PlannedJob,
    instants: Sequence[datetime],
    *,
    running: Sequence[Run],
    waiting: Sequence[Run],
    room: Room,
) -> Admission:
    """Where `instants`, oldest first, find their place; `room` is taken for those that start.

    `running` are the runs of the job in progress, `waiting` those of its due times that have not started
    for want of a place. Retries and manual triggers stand outside the policies.

    Each of `instants` is judged as if those before it had been decided already.
    """
    free = max(job.row.max_instances - len(running) - len(waiting), 0)
    match job.overlap_policy:
        case OverlapPolicy.ALLOW:
            start = places(job, instants, room)
            return Admission(start=start, wait=instants[len(start) :])
        case OverlapPolicy.SKIP:
            admitted, late = instants[:free], instants[free:]
            start = places(job, admitted, room)
            reason = (
                f"{len(running) + len(waiting) + len(admitted)} of max_instances = {job.row.max_instances}"
            )
            skipped = _span(late, f"{reason} in progress (overlap_policy = skip)")
            return Admission(start=start, wait=admitted[len(start) :], skipped=skipped)
        case OverlapPolicy.QUEUE_ALL:
            start = places(job, () if waiting else instants[:free], room)
            return Admission(start=start, wait=instants[len(start) :])
        case OverlapPolicy.QUEUE:
            start = places(job, () if waiting else instants[:free], room)
            rest = instants[len(start) :]
            return Admission(
                start=start,
                wait=rest[-1:],
                skipped=_span(rest[:-1], "superseded by a newer due time (overlap_policy = queue)"),
                superseded=waiting if rest else (),
            )
        case OverlapPolicy.REPLACE:
            newest = instants[-job.row.max_instances :]
            surplus = max(len(running) + len(newest) - job.row.max_instances, 0)
            start = places(job, newest[: len(newest) - surplus], room)
            older = instants[: -len(newest)]
            return Admission(
                start=start,
                wait=newest[len(start) :],
                skipped=_span(older, "superseded by a newer due time (overlap_policy = replace)"),
                replaced=sorted(running, key=lambda run: run.scheduled_time)[:surplus],
                superseded=waiting if newest else (),
            )


def places(job: PlannedJob, instants: Sequence[datetime], room: Room) -> Sequence[datetime]:
    """The first of `instants` that find a place; `room` is taken for them."""
    for number, _ in enumerate(instants):
        if not room.has_place(job):
            return instants[:number]
        room.take(job)
    return instants


def _span(instants: Sequence[datetime], reason: str) -> Span | None:
    if not instants:
        return None
    return Span(first=instants[0], through=instants[-1], count=len(instants), reason=reason)
