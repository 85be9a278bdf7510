"""Where a schedule begins that is new, changed, repaired or enabled again: pure.

It begins when a replica has first seen it so. Nothing that a row says of itself is proof of more: its
`updated_at` is when the statement ran, and the COMMIT may have come much later, by a person at a prompt or by
a long transaction. So no instant is fired that lies before the change could be seen by anybody.

What lies between the edit, as far as is known, and that moment is recorded, not dropped in silence: as
SKIPPED within a few seconds, which is what a look takes, else as MISSED. "As far as is known" is the row's
`updated_at`, or the last look of this replica that did not show the change, whichever is later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from piko.core.types import JobStatus, RunState
from piko.scheduler.due import Span, span_of
from piko.scheduler.plan import PlannedJob, Verdict

_A_LOOK = timedelta(seconds=5)
_REASON = "due before a replica had seen the change of its row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The first cursor of a schedule, and what lies before it and after the edit."""

    cursor: datetime
    unseen: Span | None
    state: RunState
    """What is recorded of `unseen`."""


def seen(verdict: Verdict, before: Verdict | None, *, now: datetime, looked_at: datetime | None) -> Verdict:
    """`verdict` with when its schedule was first seen so: now, or when `before` was.

    `looked_at`: when this replica looked last, and did not see it.
    """
    if before is not None and _same_schedule(verdict, before):
        return replace(verdict, seen_at=before.seen_at, unseen_at=before.unseen_at)
    return replace(verdict, seen_at=now, unseen_at=looked_at)


def beginning(job: PlannedJob, verdict: Verdict, *, cursor: datetime | None, now: datetime) -> Beginning:
    """Where the schedule of `job` begins; `cursor` is that of the one before, which it never goes behind."""
    first = now if verdict.seen_at is None else min(verdict.seen_at, now)
    begin = first if cursor is None else max(first, cursor)
    edited = [moment for moment in (verdict.row.updated_at, verdict.unseen_at, cursor) if moment is not None]
    since = max(edited)
    unseen = None
    if not job.definition.stateful and since < begin:
        unseen = span_of(job.schedule, _REASON, after=since, through=job.schedule.latest_at(begin))
    state = RunState.SKIPPED if begin - since <= _A_LOOK else RunState.MISSED
    return Beginning(cursor=begin, unseen=unseen, state=state)


def _same_schedule(verdict: Verdict, before: Verdict) -> bool:
    if verdict.job is None or before.job is None:
        return False
    if verdict.status is not JobStatus.SCHEDULED or before.status is not JobStatus.SCHEDULED:
        return False
    return verdict.job.schedule.fingerprint == before.job.schedule.fingerprint
