"""Where a schedule begins that is new, changed, repaired or enabled again: pure.

It begins at its edit, the row's `updated_at`. What came due between the edit and the first look at it is
late, and is judged as every other delay is: a `date` that passed while no replica ran still runs within its
grace.

But `updated_at` is when the statement ran, and the COMMIT may have come much later: from a person at a
prompt, or from a long transaction. A replica that looked after `updated_at` and did not see the edit knows
that. Then the schedule begins when it was first seen, so that nothing fires that was due before the COMMIT.
What was due between the last look without the edit and the first look with it may lie on either side of the
COMMIT: it is recorded instead of fired, as SKIPPED within a few seconds, which is what a look takes, else as
MISSED.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import RunState
from piko.decisions.due import Span, span_of

_A_LOOK = timedelta(seconds=5)
_REASON = "due before a replica saw the change of its row, which was committed late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The first cursor of a schedule, and what lies before it that may have been due."""

    cursor: datetime
    unseen: Span | None
    state: RunState
    """What is recorded of `unseen`."""


def beginning(job: Job, assessed: AssessedRow, *, cursor: datetime | None, now: datetime) -> Beginning:
    """Where the schedule of `job` begins; `cursor` is that of the one before, which it never goes behind."""
    edited, looked_at = assessed.row.updated_at, assessed.unseen_at
    if looked_at is None or edited >= looked_at:
        return Beginning(cursor=_latest(min(edited, now), cursor), unseen=None, state=RunState.SKIPPED)
    begin = _latest(now if assessed.seen_at is None else min(assessed.seen_at, now), cursor)
    since = _latest(looked_at, cursor)
    unseen = None
    if not job.definition.stateful and since < begin:
        unseen = span_of(job.schedule, _REASON, after=since, through=job.schedule.latest_at(begin))
    state = RunState.SKIPPED if begin - since <= _A_LOOK else RunState.MISSED
    return Beginning(cursor=begin, unseen=unseen, state=state)


def _latest(moment: datetime, cursor: datetime | None) -> datetime:
    return moment if cursor is None else max(moment, cursor)
