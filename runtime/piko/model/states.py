"""States of jobs: the leader's summary of each, for people, the operator and the next leader."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.core.types import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """One row of `job_state`. It describes the row of `scheduled_job` that was created at `row_created_at`.

    Due times up to `cursor_at` have been handled, for the schedule of `schedule_hash`. `data_through` is a
    copy of the watermark. The data from `given_up_from` to `given_up_to` was dropped by a bound on the
    backlog, and nobody has answered for it. The `last_…` fields describe the run that ended last.
    `row_gone_at` is when the leader saw that the row was deleted.
    """

    job_id: str
    status: str = JobStatus.SCHEDULED
    message: str | None = None
    schedule_hash: str | None = None
    observed_version: int | None = None
    cursor_at: datetime | None = None
    next_run_at: datetime | None = None
    last_run_id: str | None = None
    last_state: str | None = None
    last_scheduled_time: datetime | None = None
    last_started_at: datetime | None = None
    last_duration_s: float | None = None
    last_error: str | None = None
    last_success_at: datetime | None = None
    consecutive_failures: int = 0
    given_up_from: datetime | None = None
    given_up_to: datetime | None = None
    data_through: datetime | None = None
    row_created_at: datetime | None = None
    row_gone_at: datetime | None = None

    def is_of_another_row(self, created_at: datetime) -> bool:
        """Whether this describes an earlier row than the one that was created at `created_at`."""
        if self.row_created_at is None:
            return self.row_gone_at is not None
        return self.row_created_at != created_at
