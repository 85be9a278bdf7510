"""A row of `scheduled_job` as the runtime reads it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from piko.model.digests import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow:
    """One row; column names are field names, instants are aware."""

    job_id: str
    schedule_type: str
    schedule_expr: str
    timezone: str | None
    enabled: bool
    version: int
    start_at: datetime | None
    end_at: datetime | None
    jitter_s: float
    misfire_grace_s: float
    coalesce: bool
    overlap_policy: str
    max_instances: int
    concurrency_group: str | None
    concurrency_limit: int | None
    priority: int
    timeout_s: float | None
    max_attempts: int | None
    retry_backoff_s: float
    retry_max_backoff_s: float
    backfill_policy: str | None
    max_lookback_s: float | None
    backfill_max_windows: int | None
    last_data_time: datetime | None
    completed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @property
    def digest(self) -> Digest:
        return self.version, self.updated_at
