"""Due times that are claimed before they come, so that their handlers start at their instant: pure.

A claim takes the database its time. What is due within a horizon is therefore claimed beforehand, and its run
carries `starts_at`. Only where nothing that happens until then could change the decision:

- a due time of a stateless job that has a further one after it, so that no claim completes a row;
- of a job that may start it whatever its other runs do then, or whose row wants it left out if they still go
  on: that is seen when its time has come (`skips`);
- of a job in no concurrency group, while a slot is free and nothing waits for one: an earlier or more
  important run would have a right to it.

All others are decided when they are due. Where claims take longer than from one due time of a job to the
next, several are claimed, in their order.

An edit of the row is the one thing that changes the decision all the same. Then the claim is taken back, if
its run has not begun: the run ends as CANCELLED with the reason, its due time is free, and the cursor stands
before it, so that it is decided again by what the row says now. That holds through any number of leaders: a
term inherits the claims whose due times are the cursors of their jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import TypeGuard

from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import JobStatus, OverlapPolicy, RunState, TriggerType
from piko.decisions.due import start_of
from piko.model.claims import Withdrawal
from piko.model.runs import Run
from piko.model.schedules import ScheduleRow
from piko.model.states import JobState

_MOST_OF_JOB = 64
_DUE = attrgetter("scheduled_time")
_INSTANT = timedelta(microseconds=1)
_WHY = "taken back before it started: its {what}; the due time is decided again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcoming:
    """A due time that can be claimed now, when its run is to start, and the same of the due time after it."""

    instant: datetime
    starts_at: datetime
    following: datetime
    following_starts_at: datetime


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
    """The claims of one term whose runs have not begun yet."""

    def __init__(self) -> None:
        self._of_job: dict[str, dict[str, tuple[Run, ClaimedAhead]]] = {}
        """By job and by run id."""
        self._taking_back: dict[str, str] = {}
        """Runs whose claims are being taken back, each with the reason; that goes on until it is written."""
        self._inherited: dict[str, JobState] = {}
        """By run id, the state that the leader before has left of the job of a claim in progress."""

    def note(self, run: Run, decided_by: ClaimedAhead) -> None:
        """`run` is claimed, and begins at its `starts_at`."""
        self._of_job.setdefault(run.job_id, {})[run.run_id] = run, decided_by

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
        for run in sorted(runs, key=_DUE):
            state = states.get(run.job_id)
            starts_at = run.not_before if run.state is RunState.QUEUED else run.starts_at
            first_claim = run.trigger_type is TriggerType.SCHEDULE and run.window is None
            if not first_claim or not _is_dealt_with(state, run) or not starts_at:
                continue
            if run.state is RunState.QUEUED:
                self._note_inherited(replace(run, starts_at=starts_at), state, rows.get(run.job_id), now)
            else:
                self._inherited[run.run_id] = state

    def return_to_queue(
        self, run: Run, state: JobState | None, rows: Mapping[str, AssessedRow], now: datetime
    ) -> bool:
        """`run` waits in the queue since its instance died; whether its job has dealt with its due time.

        `state` is what its job has now. Of several of a job the first comes first.
        """
        state = self._inherited.pop(run.run_id, state)
        if not _is_dealt_with(state, run):
            return False
        self._note_inherited(run, state, rows.get(run.job_id), now)
        return True

    def _note_inherited(self, run: Run, state: JobState, assessed: AssessedRow | None, now: datetime) -> None:
        """What the claim of `run` by another leader was decided by, as far as `state`, which it left, shows.

        What was due before it has a claim of its own. A row that was edited may have brought due times from
        then on.
        """
        row = None if assessed is None or not _is_of(state, assessed) else assessed.row
        since = now if row is not None or assessed is None else min(now, assessed.row.updated_at)
        claimed = [claim.scheduled_time for claim, _ in self._of_job.get(run.job_id, {}).values()]
        cursor = min(run.scheduled_time - _INSTANT, max([since, *claimed]))
        before = replace(state, cursor_at=cursor, next_run_at=run.scheduled_time)
        self.note(run, ClaimedAhead(row=row, before=before, queued=True))

    def take_begun(self, now: datetime) -> list[Run]:
        """The runs whose time to start has come since this was asked last."""
        begun = [
            run
            for claims in self._of_job.values()
            for run, _ in claims.values()
            if not run.starts_after(now) and run.run_id not in self._taking_back
        ]
        for run in begun:
            self.forget(run)
        return begun

    def outdated(
        self, job_ids: Iterable[str], rows: Mapping[str, AssessedRow], now: datetime
    ) -> Sequence[Withdrawal]:
        """What is to be taken back of the claims of `job_ids`, whose rows were read again."""
        found = []
        for job_id in job_ids if self._of_job else ():
            for run, decided_by in self._of_job.get(job_id, {}).values():
                what = _changed(rows.get(job_id), decided_by.row)
                if what is not None and run.starts_after(now):
                    self._taking_back.setdefault(run.run_id, _WHY.format(what=what))
                if (why := self._taking_back.get(run.run_id)) is not None:
                    withdrawal = Withdrawal(
                        run=run, state=decided_by.before, why=why, queued=decided_by.queued
                    )
                    found.append(withdrawal)
        return found

    def forget(self, run: Run) -> None:
        """The run has begun, or never will."""
        claims = self._of_job.get(run.job_id, {})
        claims.pop(run.run_id, None)
        if not claims:
            self._of_job.pop(run.job_id, None)
        self._taking_back.pop(run.run_id, None)


def most_ahead(job: Job, runs: Sequence[Run], *, now: datetime, within: timedelta) -> int:
    """How many more due times of `job` may be claimed ahead beside its `runs`, which go on or are upcoming.

    Whatever becomes of these, each of them starts at its time; or else `skips` sees then that it does not.
    """
    begun = [run for run in runs if not run.starts_after(now)]
    most = _MOST_OF_JOB - (len(runs) - len(begun))
    if job.is_judged_at_start and not any(_goes_on_long(run, job, now, within) for run in begun):
        return most
    if job.overlap_policy is OverlapPolicy.ALLOW:
        return most
    return min(most, job.row.max_instances - len(runs))


def upcoming(
    job: Job, *, cursor: datetime, now: datetime, within: timedelta, most: int
) -> Iterator[Upcoming]:
    """Up to `most` due times after `cursor` whose starts come after `now` and `within` so much, in order.

    When each of them starts, no later due time of the job will have come: this decision is the one that
    would be made then.
    """
    for _ in range(most):
        coming = job.schedule.next_two_after(cursor)
        if coming is None:
            return
        instant, following = coming
        starts_at = start_of(job, instant)
        if not now < starts_at <= now + within or starts_at >= following:
            return
        following_starts_at = start_of(job, following)
        yield Upcoming(
            instant=instant,
            starts_at=starts_at,
            following=following,
            following_starts_at=following_starts_at,
        )
        if following_starts_at > now + within:
            return
        cursor = instant


def _goes_on_long(run: Run, job: Job, now: datetime, within: timedelta) -> bool:
    """Whether `run`, which has begun, makes it likely that a claim ahead would be for nothing.

    It does where it goes on beyond the job's next due time, and where there is time to wait for its end.
    """
    following = job.schedule.next_after(run.scheduled_time)
    return following is None or following <= now or following - run.scheduled_time >= within


def _is_dealt_with(state: JobState | None, run: Run) -> TypeGuard[JobState]:
    """Whether the cursor of `state` has reached the due time of `run`, as the claim of it has left it."""
    return state is not None and state.cursor_at is not None and state.cursor_at >= run.scheduled_time


def _is_of(state: JobState, assessed: AssessedRow) -> bool:
    """Whether `state` was written by what the row says now."""
    row, job = assessed.row, assessed.job
    known = (state.row_created_at, state.observed_version, state.schedule_hash)
    return job is not None and known == (row.created_at, row.version, job.schedule.fingerprint)


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
