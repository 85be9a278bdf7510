"""What a row means to this code: a job, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from piko.core.registry import JobDefinition, JobRegistry
from piko.core.types import BackfillPolicy, JobStatus, OverlapPolicy
from piko.errors import ScheduleError
from piko.model.schedules import ScheduleRow
from piko.schedule import Schedule, jitter_warning, schedule_of_row, start_offset

_OVERLAP_POLICIES = tuple(policy.value for policy in OverlapPolicy)
_BACKFILL_POLICIES = tuple(policy.value for policy in BackfillPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row, the code it runs, and when."""

    row: ScheduleRow
    definition: JobDefinition
    schedule: Schedule
    warning: str | None = None
    """What of the row is probably not meant so."""

    @property
    def job_id(self) -> str:
        return self.row.job_id

    @property
    def timeout_s(self) -> float | None:
        return self.row.timeout_s if self.row.timeout_s is not None else self.definition.timeout_s

    @property
    def max_attempts(self) -> int:
        return self.row.max_attempts if self.row.max_attempts is not None else self.definition.max_attempts

    @property
    def backfill_policy(self) -> BackfillPolicy:
        policy = self.row.backfill_policy
        return self.definition.backfill_policy if policy is None else BackfillPolicy(policy)

    @property
    def overlap_policy(self) -> OverlapPolicy:
        return OverlapPolicy(self.row.overlap_policy)

    @property
    def is_judged_at_start(self) -> bool:
        """Whether a due time that was claimed may still be left out when it comes, and nothing is lost by it.

        The row wants it so where a run before it goes on, or where a later due time has come, too.
        """
        # Asked several times for each run: no value of the enumeration is made of the text.
        return self.row.overlap_policy == OverlapPolicy.SKIP.value and self.row.coalesce

    def retry_delay_s(self, attempt: int) -> float:
        """Seconds between the failure of `attempt` and the next one: doubled each time, up to the maximum."""
        delay = self.row.retry_backoff_s * 2.0 ** min(attempt - 1, 60)
        return min(delay, self.row.retry_max_backoff_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssessedRow:
    """An assessed row. `job` is set if the row and the code together define its runs."""

    row: ScheduleRow
    status: JobStatus
    message: str | None = None
    job: Job | None = None
    seen_at: datetime | None = None
    """When this replica first saw the schedule as it is; None: just now."""
    unseen_at: datetime | None = None
    """When this replica looked last before, and it was not so."""

    def seen(self, *, at: datetime | None, unseen_at: datetime | None) -> AssessedRow:
        """This, with when its schedule was first seen so; in a third of the time of `dataclasses.replace`."""
        return AssessedRow(
            row=self.row,
            status=self.status,
            message=self.message,
            job=self.job,
            seen_at=at,
            unseen_at=unseen_at,
        )


def assess(row: ScheduleRow, *, registry: JobRegistry, timezone: str) -> AssessedRow:
    """Judge one row; nothing that it holds can raise."""
    definition = registry.get(row.job_id)
    try:
        schedule = schedule_of_row(row, timezone=timezone)
        _refuse_bad_policies(row)
        warning = jitter_warning(schedule, jitter_s=row.jitter_s, coalesce=row.coalesce, since=row.updated_at)
    except ScheduleError as error:
        return AssessedRow(row=row, status=JobStatus.INVALID, message=str(error))
    if definition is None:
        return AssessedRow(
            row=row,
            status=JobStatus.UNREGISTERED,
            message=f"no replica has registered the job {row.job_id!r}; "
            f"registered here: {registry.first_ids or 'none'}",
        )
    job = Job(
        row=row, definition=definition, schedule=schedule, warning=None if definition.stateful else warning
    )
    if not row.enabled:
        return AssessedRow(row=row, status=JobStatus.DISABLED, message=_paused(row), job=job)
    if schedule.fires_once and is_completed(row, schedule):
        fired = f"it fired; completed_at = {row.completed_at}"
        return AssessedRow(row=row, status=JobStatus.COMPLETED, message=fired, job=job)
    if schedule.fires_once and definition.stateful and row.last_data_time is None:
        return AssessedRow(
            row=row,
            status=JobStatus.INVALID,
            message="the job is stateful and its schedule a date: nothing says where its one window begins; "
            "set last_data_time to the instant from which it is to cover data",
        )
    return AssessedRow(row=row, status=JobStatus.SCHEDULED, job=job)


def _paused(row: ScheduleRow) -> str:
    until = "" if row.paused_until is None else f"; it is paused until {row.paused_until:%Y-%m-%d %H:%M:%S}Z"
    return f"the row is disabled{until}"


def _refuse_bad_policies(row: ScheduleRow) -> None:
    """Databases that do not enforce CHECK constraints hold whatever was written."""
    _refuse_unknown("overlap_policy", row.overlap_policy, _OVERLAP_POLICIES)
    if row.backfill_policy is not None:
        _refuse_unknown("backfill_policy", row.backfill_policy, _BACKFILL_POLICIES)
    start_offset(job_id=row.job_id, scheduled_time=row.updated_at, jitter_s=row.jitter_s)


def _refuse_unknown(column: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ScheduleError(f"{column} = {value!r}: not a policy; expected one of {', '.join(known)}")


def is_completed(row: ScheduleRow, schedule: Schedule) -> bool:
    """A `date` schedule is done once it fired; moved to a later date it is to fire again."""
    return row.completed_at is not None and schedule.next_after(row.completed_at) is None


def seen(
    assessed: AssessedRow, before: AssessedRow | None, *, now: datetime, looked_at: datetime | None
) -> AssessedRow:
    """`assessed` with when its schedule was first seen so: now, or when `before` was.

    `looked_at`: when this replica looked last, and did not see it.
    """
    if before is not None and _same_schedule(assessed, before):
        return assessed.seen(at=before.seen_at, unseen_at=before.unseen_at)
    return assessed.seen(at=now, unseen_at=looked_at)


def _same_schedule(assessed: AssessedRow, before: AssessedRow) -> bool:
    if assessed.job is None or before.job is None:
        return False
    if assessed.status is not JobStatus.SCHEDULED or before.status is not JobStatus.SCHEDULED:
        return False
    return assessed.job.schedule.fingerprint == before.job.schedule.fingerprint
