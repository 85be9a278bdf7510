"""What a row means to this code: a planned job, or the reason why it is none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from piko.core.registry import JobDefinition, JobRegistry
from piko.core.types import BackfillPolicy, JobStatus, OverlapPolicy
from piko.errors import ScheduleError
from piko.leadership.contact import Contact
from piko.schedule import Schedule, jitter_warning, parse_schedule, start_offset
from piko.store.schedules import ScheduleRow

_GAP_S = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedJob:
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

    def retry_delay_s(self, attempt: int) -> float:
        """Seconds between the failure of `attempt` and the next one: doubled each time, up to the maximum."""
        delay = self.row.retry_backoff_s * 2.0 ** min(attempt - 1, 60)
        return min(delay, self.row.retry_max_backoff_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of a row. `job` is there where the row and the code say what a run of it would be."""

    row: ScheduleRow
    status: JobStatus
    message: str | None = None
    job: PlannedJob | None = None
    seen_at: datetime | None = None
    """When this replica first saw the schedule as it is; None: just now."""
    unseen_at: datetime | None = None
    """When this replica looked last before, and it was not so."""


def assess(row: ScheduleRow, *, registry: JobRegistry, timezone: str) -> Verdict:
    """Judge one row; nothing that it holds can raise."""
    definition = registry.get(row.job_id)
    try:
        schedule = parse_schedule(
            job_id=row.job_id,
            schedule_type=row.schedule_type,
            schedule_expr=row.schedule_expr,
            timezone=row.timezone or timezone,
            start_at=row.start_at,
            end_at=row.end_at,
        )
        _refuse_bad_policies(row)
        warning = jitter_warning(schedule, jitter_s=row.jitter_s, coalesce=row.coalesce, since=row.updated_at)
    except ScheduleError as error:
        return Verdict(row=row, status=JobStatus.INVALID, message=str(error))
    if definition is None:
        known = ", ".join(sorted(job.job_id for job in registry)[:20]) or "none"
        return Verdict(
            row=row,
            status=JobStatus.UNREGISTERED,
            message=f"no replica has registered the job {row.job_id!r}; registered here: {known}",
        )
    job = PlannedJob(
        row=row, definition=definition, schedule=schedule, warning=None if definition.stateful else warning
    )
    if not row.enabled:
        return Verdict(row=row, status=JobStatus.DISABLED, message="the row is disabled", job=job)
    if schedule.fires_once and is_completed(row, schedule):
        fired = f"it fired; completed_at = {row.completed_at}"
        return Verdict(row=row, status=JobStatus.COMPLETED, message=fired, job=job)
    if schedule.fires_once and definition.stateful and row.last_data_time is None:
        return Verdict(
            row=row,
            status=JobStatus.INVALID,
            message="the job is stateful and its schedule a date: nothing says where its one window begins; "
            "set last_data_time to the instant from which it is to cover data",
        )
    return Verdict(row=row, status=JobStatus.SCHEDULED, job=job)


def _refuse_bad_policies(row: ScheduleRow) -> None:
    """Databases that do not enforce CHECK constraints hold whatever was written."""
    policies: tuple[tuple[str, str | None, type[StrEnum]], ...] = (
        ("overlap_policy", row.overlap_policy, OverlapPolicy),
        ("backfill_policy", row.backfill_policy, BackfillPolicy),
    )
    for column, value, known in policies:
        if value is not None and value not in list(known):
            raise ScheduleError(f"{column} = {value!r}: not a policy; expected one of {', '.join(known)}")
    start_offset(job_id=row.job_id, scheduled_time=row.updated_at, jitter_s=row.jitter_s)


def is_completed(row: ScheduleRow, schedule: Schedule) -> bool:
    """A `date` schedule is done once it fired; moved to a later date it is to fire again."""
    return row.completed_at is not None and schedule.next_after(row.completed_at) is None


@dataclass(slots=True)
class Plan:
    """The rows as this replica has understood them; the reconciler writes, others read."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    loaded: bool = False
    stale_since: datetime | None = None
    stale_reason: str | None = None
    contact: Contact = field(default_factory=lambda: Contact(gap_s=_GAP_S))
    """When the database has answered the reconciler, on the monotonic clock."""
    changed: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    """Jobs whose row is to be read and adopted again, whether it looks changed or not."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def touch(self, job_ids: set[str]) -> None:
        """Tell the dispatcher that `job_ids` are not what they were."""
        self.changed |= job_ids
        self.news.set()

    def take_changed(self) -> set[str]:
        """What has changed since this was asked last."""
        changed, self.changed = self.changed, set()
        self.news.clear()
        return changed

    def job(self, job_id: str) -> PlannedJob | None:
        """The job of `job_id` with its code and schedule, suspended ones included."""
        verdict = self.verdicts.get(job_id)
        return None if verdict is None else verdict.job

    def scheduled(self, job_id: str) -> PlannedJob | None:
        """The job of `job_id` where it is to fire by itself."""
        verdict = self.verdicts.get(job_id)
        return verdict.job if verdict is not None and verdict.status is JobStatus.SCHEDULED else None
