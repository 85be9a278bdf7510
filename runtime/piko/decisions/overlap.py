"""What happens to instants that are due while runs of their job are in progress: pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.catalog.jobs import Job
from piko.core.types import OverlapPolicy
from piko.decisions.due import Span
from piko.decisions.slots import Slots
from piko.model.runs import Run


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
    job: Job,
    instants: Sequence[datetime],
    *,
    running: Sequence[Run],
    waiting: Sequence[Run],
    slots: Slots,
) -> Admission:
    """Where `instants`, oldest first, find their slots; `slots` is taken for those that start.

    `running` are the runs of the job in progress, `waiting` those of its due times that have not started
    for want of a slot. Retries and manual triggers stand outside the policies.

    Each of `instants` is judged as if those before it had been decided already.
    """
    free = max(job.row.max_instances - len(running) - len(waiting), 0)
    match job.overlap_policy:
        case OverlapPolicy.ALLOW:
            start = with_slots(job, instants, slots)
            return Admission(start=start, wait=instants[len(start) :])
        case OverlapPolicy.SKIP:
            admitted, late = instants[:free], instants[free:]
            start = with_slots(job, admitted, slots)
            reason = (
                f"{len(running) + len(waiting) + len(admitted)} of max_instances = {job.row.max_instances}"
            )
            skipped = _span(late, f"{reason} in progress (overlap_policy = skip)")
            return Admission(start=start, wait=admitted[len(start) :], skipped=skipped)
        case OverlapPolicy.QUEUE_ALL:
            start = with_slots(job, () if waiting else instants[:free], slots)
            return Admission(start=start, wait=instants[len(start) :])
        case OverlapPolicy.QUEUE:
            start = with_slots(job, () if waiting else instants[:free], slots)
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
            start = with_slots(job, newest[: len(newest) - surplus], slots)
            older = instants[: -len(newest)]
            return Admission(
                start=start,
                wait=newest[len(start) :],
                skipped=_span(older, "superseded by a newer due time (overlap_policy = replace)"),
                replaced=sorted(running, key=lambda run: run.scheduled_time)[:surplus],
                superseded=waiting if newest else (),
            )


def with_slots(job: Job, instants: Sequence[datetime], slots: Slots) -> Sequence[datetime]:
    """The first of `instants` that find a slot; `slots` is taken for them."""
    for number, _ in enumerate(instants):
        if not slots.has_slot(job):
            return instants[:number]
        slots.take(job)
    return instants


def _span(instants: Sequence[datetime], reason: str) -> Span | None:
    if not instants:
        return None
    return Span(first=instants[0], through=instants[-1], count=len(instants), reason=reason)
