"""Due times that are claimed before they come, so that their handlers start at their instant: pure.

A claim takes the database its time. What is due within a horizon is therefore claimed beforehand, and its run
carries `starts_at`. Only where nothing that happens until then could change the decision:

- a due time of a stateless job that has a further one after it, so that no claim completes a row;
- of a job with nothing in progress or waiting, so that no overlap is to be judged;
- of a job in no concurrency group, while a slot is free and nothing waits for one: an earlier or more
  important run would have a right to it;
- never two of one job, and never longer before than to the due time that follows.

All others are decided when they are due.

An edit of the row is the one thing that changes the decision all the same. Then the claim is taken back, if
its run has not begun: the run ends as CANCELLED with the reason, its due time is free, and the cursor stands
before it, so that it is decided again by what the row says now.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import JobStatus
from piko.decisions.due import start_of
from piko.model.claims import Withdrawal
from piko.model.runs import Run
from piko.model.schedules import ScheduleRow
from piko.model.states import JobState

_INSTANT = timedelta(microseconds=1)
_WHY = "taken back before it started: its {what}; the due time is decided again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """A due time that can be claimed now, and when its run is to start."""

    instant: datetime
    starts_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedAhead:
    """What a claim was decided by: the row, and the job's state before it."""

    row: ScheduleRow
    before: JobState
    queued: bool = False
    """Whether the run waits in the queue: the leader that claimed it has died."""


class ClaimsAhead:
    """The claims of one term whose runs have not begun yet; at most one of a job."""

    def __init__(self) -> None:
        self._of_job: dict[str, tuple[Run, ClaimedAhead]] = {}
        self._taking_back: dict[str, str] = {}
        """Jobs whose claims are being taken back, each with the reason; that goes on until it is written."""

    def __len__(self) -> int:
        return len(self._of_job)

    def note(self, run: Run, decided_by: ClaimedAhead) -> None:
        """`run` is claimed, and begins at its `starts_at`."""
        self._of_job[run.job_id] = run, decided_by

    def take_begun(self, now: datetime) -> list[Run]:
        """The runs whose time to start has come since this was asked last."""
        begun = [
            run
            for run, _ in self._of_job.values()
            if _has_come(run, now) and run.job_id not in self._taking_back
        ]
        for run in begun:
            del self._of_job[run.job_id]
        return begun

    def outdated(
        self, job_ids: Iterable[str], rows: Mapping[str, AssessedRow], now: datetime
    ) -> Sequence[Withdrawal]:
        """What is to be taken back of the claims of `job_ids`, whose rows were read again."""
        found = []
        for job_id in job_ids if self._of_job else ():
            if job_id not in self._of_job:
                continue
            run, decided_by = self._of_job[job_id]
            what = _changed(rows.get(job_id), decided_by.row)
            if what is not None and not _has_come(run, now):
                self._taking_back.setdefault(job_id, _WHY.format(what=what))
            if (why := self._taking_back.get(job_id)) is not None:
                found.append(Withdrawal(run=run, state=decided_by.before, why=why, queued=decided_by.queued))
        return found

    def forget(self, job_id: str) -> None:
        """The run has begun, or never will."""
        self._of_job.pop(job_id, None)
        self._taking_back.pop(job_id, None)


def upcoming(job: Job, *, cursor: datetime, now: datetime, within: timedelta) -> Upcoming | None:
    """The one due time after `cursor` whose start comes after `now` and `within` so much; None: no such one.

    When it starts, no other due time of the job will have come: this decision is the one that would be made
    then.
    """
    instant = job.schedule.next_after(cursor)
    following = None if instant is None else job.schedule.next_after(instant)
    if instant is None or following is None:
        return None
    starts_at = start_of(job, instant)
    if starts_at >= following or not now < starts_at <= now + min(within, following - instant):
        return None
    return Upcoming(instant=instant, starts_at=starts_at)


def before_claim(run: Run, job: Job, state: JobState, now: datetime) -> ClaimedAhead:
    """What the claim of `run` by another leader was decided by, as far as that is known at `now`.

    Between the claim and its due time the job had no other, so that up to `now` nothing else was due.
    """
    cursor = min(run.scheduled_time - _INSTANT, now)  # an edit may bring due times before that of the run
    before = replace(state, cursor_at=cursor, next_run_at=run.scheduled_time)
    return ClaimedAhead(row=job.row, before=before, queued=True)


def _has_come(run: Run, now: datetime) -> bool:
    return run.starts_at is None or run.starts_at <= now


def _changed(assessed: AssessedRow | None, row: ScheduleRow) -> str | None:
    """What has happened to `row` since; None: nothing."""
    if assessed is None:
        return "row was deleted"
    if assessed.row.created_at != row.created_at:
        return "row was replaced"
    if row.enabled and not assessed.row.enabled:
        return "schedule was paused"
    if assessed.row != row or assessed.status is not JobStatus.SCHEDULED:
        return "row was changed"
    return None
