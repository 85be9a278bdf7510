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
before it, so that it is decided again by what the row says now. That holds through any number of leaders: a
term inherits the claims whose due times are the cursors of their jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import JobStatus, RunState, TriggerType
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
    """What a claim was decided by: the row, and the job's state before it.

    `row` is None where another leader made the claim, and the row has changed since.
    """

    row: ScheduleRow | None
    before: JobState
    queued: bool = False
    """Whether the run waits in the queue: the leader that claimed it has died."""


class ClaimsAhead:
    """The claims of one term whose runs have not begun yet; at most one of a job."""

    def __init__(self) -> None:
        self._of_job: dict[str, tuple[Run, ClaimedAhead]] = {}
        self._taking_back: dict[str, str] = {}
        """Jobs whose claims are being taken back, each with the reason; that goes on until it is written."""
        self._inherited: dict[str, JobState] = {}
        """By run id, the state that the leader before has left of the job of a claim in progress."""

    def __len__(self) -> int:
        return len(self._of_job)

    def note(self, run: Run, decided_by: ClaimedAhead) -> None:
        """`run` is claimed, and begins at its `starts_at`."""
        self._of_job[run.job_id] = run, decided_by

    def inherit(
        self,
        runs: Iterable[Run],
        states: Mapping[str, JobState],
        rows: Mapping[str, AssessedRow],
        now: datetime,
    ) -> None:
        """Take in, of `runs` in progress or waiting, what leaders before have claimed ahead.

        What is in progress may have begun; what is not is passed to `return_to_queue`.
        """
        for run in runs:
            state = states.get(run.job_id)
            starts_at = run.not_before if run.state is RunState.QUEUED else run.starts_at
            first_claim = run.trigger_type is TriggerType.SCHEDULE and run.window is None
            if not first_claim or state is None or state.cursor_at != run.scheduled_time or not starts_at:
                continue
            if run.state is RunState.QUEUED:
                waits = replace(run, starts_at=starts_at)
                self.note(waits, _decided_before(waits, state, rows.get(run.job_id), now))
            else:
                self._inherited[run.run_id] = state

    def return_to_queue(
        self, run: Run, state: JobState | None, rows: Mapping[str, AssessedRow], now: datetime
    ) -> bool:
        """`run` waits in the queue since its instance died; whether it is still the last claim of its job.

        `state` is what its job has now.
        """
        state = self._inherited.pop(run.run_id, state)
        if state is None or state.cursor_at != run.scheduled_time:
            return False
        self.note(run, _decided_before(run, state, rows.get(run.job_id), now))
        return True

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


def _decided_before(run: Run, state: JobState, assessed: AssessedRow | None, now: datetime) -> ClaimedAhead:
    """What the claim of `run` by another leader was decided by, as far as `state`, which it left, shows.

    Between the claim and its due time the job had no other, so that up to `now` nothing else was due. A row
    that was edited may have brought due times from then on.
    """
    row = None if assessed is None or not _is_of(state, assessed) else assessed.row
    since = now if row is not None or assessed is None else min(now, assessed.row.updated_at)
    cursor = min(run.scheduled_time - _INSTANT, since)
    before = replace(state, cursor_at=cursor, next_run_at=run.scheduled_time)
    return ClaimedAhead(row=row, before=before, queued=True)


def _is_of(state: JobState, assessed: AssessedRow) -> bool:
    """Whether `state` was written by what the row says now."""
    row, job = assessed.row, assessed.job
    known = (state.row_created_at, state.observed_version, state.schedule_hash)
    return job is not None and known == (row.created_at, row.version, job.schedule.fingerprint)


def _has_come(run: Run, now: datetime) -> bool:
    return run.starts_at is None or run.starts_at <= now


def _changed(assessed: AssessedRow | None, row: ScheduleRow | None) -> str | None:
    """What has happened to `row` since; None: nothing."""
    if assessed is None:
        return "row was deleted"
    if row is None:
        return "row was changed"
    if assessed.row.created_at != row.created_at:
        return "row was replaced"
    if row.enabled and not assessed.row.enabled:
        return "schedule was paused"
    if assessed.row != row or assessed.status is not JobStatus.SCHEDULED:
        return "row was changed"
    return None
