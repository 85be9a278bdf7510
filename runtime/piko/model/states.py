"""The runtime's summary of a job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.core.types import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """One row. `cursor_at`: due times up to here have been handled, for the schedule of `schedule_hash`.

    `given_up_from`, `given_up_to`: data that a bound on the backlog has dropped, and nobody has answered.
    All of it speaks of the row of `scheduled_job` that was made at `row_created_at`; `data_through` is a copy
    of its watermark.
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
        """Whether this speaks of a row that was there before the one that was made at `created_at`."""
        if self.row_created_at is None:
            return self.row_gone_at is not None
        return self.row_created_at != created_at
