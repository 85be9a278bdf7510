"""Backlogs of jobs that do not coalesce: each instant runs, in its turn. Pure.

Instants that came due while nobody looked (a stop, an outage, a database that was away) overlapped with no
run, for none was in progress. So the overlap policy has nothing to say about them. They are a *backlog*, and
as many of them start as `max_instances` has slots for; the others wait for these to end. They wait where they
are, after the cursor, and take neither rows nor memory; when their turn comes they are judged by
`misfire_grace_s` like any instant. What comes due meanwhile comes after them, and meets the policy.

A backlog goes up to the moment at which it was found. Where more runs wait in the queue than a job may have
there, what comes due behind them is treated the same way, so that no queue grows without end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.catalog.jobs import Job
from piko.core.types import OverlapPolicy
from piko.decisions.due import Due
from piko.decisions.overlap import Admission, admit, with_slots
from piko.decisions.slots import Slots
from piko.model.runs import Run

LONGEST_QUEUE = 1_000
"""Due times of one job that wait in state QUEUED; a job with more leaves them after its cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What happens to the instants that are due, up to `through`; None: nothing yet.

    `backlog`: instants up to then have still to come to their turn, when runs of the job have ended.
    """

    admission: Admission
    through: datetime | None
    backlog: datetime | None = None


class Backlogs:
    """The jobs whose backlog has not come to its end, in one term of leadership."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._until: dict[str, datetime] = {}

    def begin(self, now: datetime) -> None:
        """What is due by the first such moment came due while nobody looked."""
        self._since = self._since or now

    def take_turn(
        self,
        job: Job,
        due: Due,
        *,
        now: datetime,
        running: Sequence[Run],
        waiting: Sequence[Run],
        slots: Slots,
    ) -> Turn:
        """See `take_turn`; what is left of a backlog is kept in mind."""
        turn = take_turn(
            job,
            due,
            backlog=self._until.get(job.job_id),
            since=self._since or now,
            now=now,
            running=running,
            waiting=waiting,
            slots=slots,
        )
        self.forget(job.job_id)
        if turn.backlog is not None:
            self._until[job.job_id] = turn.backlog
        return turn

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._until

    def forget(self, job_id: str) -> None:
        self._until.pop(job_id, None)


def take_turn(
    job: Job,
    due: Due,
    *,
    backlog: datetime | None,
    since: datetime,
    now: datetime,
    running: Sequence[Run],
    waiting: Sequence[Run],
    slots: Slots,
) -> Turn:
    """Which instants of `due` start, wait, or are passed over now; `slots` is taken for those that start.

    `backlog` is the end of the backlog that was found before; None: there was none. `since`: what was due by
    then came due while nobody looked, whatever is in progress now.
    """
    limit = _limit(job, due, backlog, since, now, running, waiting)
    of_backlog = [instant for instant in due.run if limit is not None and instant <= limit]
    if not of_backlog:
        return Turn(
            admission=admit(job, due.run, running=running, waiting=waiting, slots=slots), through=due.through
        )
    taken = of_backlog[: _free(job, running, waiting)]
    start = with_slots(job, taken, slots)
    if job.overlap_policy is OverlapPolicy.QUEUE:  # one waits, for whatever it waits
        taken = taken[: len(start) + max(1 - len(waiting), 0)]
    missed = None if due.missed is None else due.missed.through
    through = taken[-1] if taken else missed
    following = due.run[len(taken)] if len(taken) < len(due.run) else job.schedule.next_after(taken[-1])
    rest = limit if limit is not None and following is not None and following <= limit else None
    return Turn(admission=Admission(start=start, wait=taken[len(start) :]), through=through, backlog=rest)


def _limit(
    job: Job,
    due: Due,
    backlog: datetime | None,
    since: datetime,
    now: datetime,
    running: Sequence[Run],
    waiting: Sequence[Run],
) -> datetime | None:
    """Up to when what is due is a backlog."""
    if backlog is not None and due.run and due.run[0] <= backlog:
        return backlog
    if job.overlap_policy in (OverlapPolicy.ALLOW, OverlapPolicy.QUEUE_ALL):
        if len(waiting) + len(due.run) > LONGEST_QUEUE:
            return now
    elif not (running or waiting) and len(due.run) > 1:
        return now
    return None if job.row.coalesce else since


def _free(job: Job, running: Sequence[Run], waiting: Sequence[Run]) -> int:
    """How many more of a backlog may start, or wait for a slot."""
    if job.overlap_policy is OverlapPolicy.ALLOW:
        return max(LONGEST_QUEUE - len(waiting), 0)
    return max(job.row.max_instances - len(running) - len(waiting), 0)
