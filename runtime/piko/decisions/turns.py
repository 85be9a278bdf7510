"""Backlogs of jobs that do not coalesce: each instant runs, in its turn. Pure.

Instants that came due while nobody looked (a stop, an outage, a database that was away) overlapped with no
run, for none was in progress. Nor did those that came due while the claim of the one before was being
written, or while its run, claimed ahead, was kept from its start. So the overlap policy has nothing to say
about them. They are a *backlog*, and as many of them start
as `max_instances` has slots for; the others wait for these to end. They wait where they are, after the
cursor, and take neither rows nor memory; when their turn comes they are judged by `misfire_grace_s` like any
instant. What comes due meanwhile comes after them.

A backlog goes up to the moment at which it was found. What comes due until its last run has ended belongs to
it, too, for as long after that moment as the backlog spans before it: so a job that is fast enough catches up
without losing an instant, and one that is not comes to its policy. Where more runs wait in the queue than a
job may have there, what comes due behind them is treated the same way, so that no queue grows without end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import OverlapPolicy
from piko.decisions.due import Due
from piko.decisions.overlap import Admission, admit, with_slots
from piko.decisions.slots import Slots
from piko.model.runs import Run
from piko.model.states import JobState

LONGEST_QUEUE = 1_000
"""Due times of one job that wait in state QUEUED; a job with more leaves them after its cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """Instants of a job up to `until` that overlapped with no run, but with others of the backlog.

    What comes due before `grows_until` may belong to it, too.
    """

    until: datetime
    grows_until: datetime

    def grown(self, now: datetime) -> Backlog | None:
        """With what has come due by `now`; None: too much time has passed for that."""
        return replace(self, until=now) if now < self.grows_until else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What happens to the instants that are due, up to `through`; None: nothing yet.

    `backlog`: these have still to come to their turn, when runs of the job have ended.
    """

    admission: Admission
    through: datetime | None
    backlog: Backlog | None = None


class Backlogs:
    """The jobs whose backlog has not come to its end, in one term of leadership."""

    def __init__(self) -> None:
        self._since: datetime | None = None
        self._of_job: dict[str, Backlog] = {}

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
            backlog=self._of_job.get(job.job_id),
            since=self._since or now,
            now=now,
            running=running,
            waiting=waiting,
            slots=slots,
        )
        self.forget(job.job_id)
        if turn.backlog is not None:
            self._of_job[job.job_id] = turn.backlog
        return turn

    def note(self, states: Iterable[JobState], rows: AssessedRows, *, since: datetime, now: datetime) -> None:
        """A claim that left `states` was written from `since` to `now`: note what came due meanwhile."""
        for state in states:
            if state.next_run_at is None or state.next_run_at > now:
                continue
            job = rows.scheduled(state.job_id)
            if job is None or job.row.coalesce or job.definition.stateful:
                continue
            first = job.schedule.next_after(since)
            if first is not None and first <= now:
                self._of_job[job.job_id] = _found(first, now)

    def note_late(self, run: Run, job: Job, now: datetime) -> None:
        """`run`, claimed ahead, did not begin before `now`: what came due since overlapped with none.

        Where a later due time takes the place of an earlier one anyway, nothing is noted.
        """
        if job.row.coalesce and not job.is_judged_at_start:
            return
        first = job.schedule.next_after(run.scheduled_time)
        if first is not None and first <= now:
            self._of_job[job.job_id] = _found(first, now)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._of_job

    def forget(self, job_id: str) -> None:
        self._of_job.pop(job_id, None)


def take_turn(
    job: Job,
    due: Due,
    *,
    backlog: Backlog | None,
    since: datetime,
    now: datetime,
    running: Sequence[Run],
    waiting: Sequence[Run],
    slots: Slots,
) -> Turn:
    """Which instants of `due` start, wait, or are passed over now; `slots` is taken for those that start.

    `backlog`: the one that was found before; None: there was none. `since`: what was due by then came due
    while nobody looked, whatever is in progress now.
    """
    backlog = _backlog(job, due, backlog, since, now, running, waiting)
    of_backlog = [instant for instant in due.run if backlog is not None and instant <= backlog.until]
    if backlog is None or not of_backlog:
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
    return Turn(
        admission=Admission(start=start, wait=taken[len(start) :]),
        through=through,
        backlog=None if following is None else _rest(backlog, following, now),
    )


def _rest(backlog: Backlog, following: datetime, now: datetime) -> Backlog | None:
    """The backlog from now on, where `following` is the next instant to come to its turn.

    Where none is left of it, its last run is in progress.
    """
    if following <= backlog.until or following > now:
        return backlog
    return backlog.grown(now)


def _backlog(
    job: Job,
    due: Due,
    backlog: Backlog | None,
    since: datetime,
    now: datetime,
    running: Sequence[Run],
    waiting: Sequence[Run],
) -> Backlog | None:
    """What of the instants that are due is a backlog."""
    if not due.run:
        return None
    if backlog is not None and due.run[0] <= backlog.until:
        return backlog
    found = _found(due.run[0], now)
    if job.overlap_policy in (OverlapPolicy.ALLOW, OverlapPolicy.QUEUE_ALL):
        if len(waiting) + len(due.run) > LONGEST_QUEUE:
            return found
    elif running or waiting:
        if backlog is not None and (grown := backlog.grown(now)) is not None:
            return grown
    elif len(due.run) > 1:
        return found
    return None if job.row.coalesce else _found(due.run[0], since)


def _found(first: datetime, now: datetime) -> Backlog:
    return Backlog(until=now, grows_until=now + (now - first))


def _free(job: Job, running: Sequence[Run], waiting: Sequence[Run]) -> int:
    """How many more of a backlog may start, or wait for a slot."""
    if job.overlap_policy is OverlapPolicy.ALLOW:
        return max(LONGEST_QUEUE - len(waiting), 0)
    return max(job.row.max_instances - len(running) - len(waiting), 0)
