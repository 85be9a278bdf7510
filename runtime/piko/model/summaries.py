"""What the operator reads of a job, of its config and of the revisions, for the status of their resources."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSummary:
    """A row of `scheduled_job`, and of `job_state` what the leader says about it.

    `status` is None until a replica has assessed the row; `observed_version` is the version that it assessed.
    """

    job_id: str
    version: int
    managed_by: str | None
    last_data_time: datetime | None
    completed_at: datetime | None
    updated_at: datetime
    status: str | None
    message: str | None
    observed_version: int | None
    next_run_at: datetime | None
    last_run_id: str | None
    last_state: str | None
    last_scheduled_time: datetime | None
    last_started_at: datetime | None
    last_duration_s: float | None
    last_error: str | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    consecutive_failures: int | None
    given_up_from: datetime | None
    given_up_to: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentRun:
    """A run that ended not long ago; `error` has the first characters of its error."""

    job_id: str
    run_id: str
    state: str
    scheduled_time: datetime
    started_at: datetime | None
    duration_s: float | None
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigSummary:
    """A config row, without its content."""

    job_id: str
    version: int
    managed_by: str | None
    effective_from: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionSummary:
    """A revision of a job's config, without its content."""

    job_id: str
    revision: int
    row_version: int
    effective_from: datetime | None
    error: str | None
    created_at: datetime
    warning: str | None = None
    secret_blanked_at: datetime | None = None
