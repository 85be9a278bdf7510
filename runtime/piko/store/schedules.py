"""`scheduled_job` as the runtime reads it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select

from piko.store.digests import Digest, Mark, read_digests, read_mark
from piko.store.engine import Database
from piko.store.tables import scheduled_job

_CHUNK = 250


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


_COLUMNS = [scheduled_job.c[field.name] for field in fields(ScheduleRow)]


class ScheduleStore:
    """Reads schedules; the runtime's only writes to them are the watermark and `completed_at` (runs.py)."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def digests(self) -> dict[str, Digest]:
        """The digest of every row: a comparison with it sees edits, late commits and deletes alike."""
        async with self._database.statements() as connection:
            return await read_digests(connection, scheduled_job)

    async def mark(self) -> Mark | None:
        """What changes with every edit of any row; None where there is no such thing."""
        async with self._database.statements() as connection:
            return await read_mark(connection, scheduled_job)

    async def read(self, job_ids: Collection[str]) -> list[ScheduleRow]:
        """The rows of `job_ids`; one that is gone by now is left out."""
        ids = sorted(job_ids)
        found: list[ScheduleRow] = []
        async with self._database.statements() as connection:
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                rows = await connection.execute(select(*_COLUMNS).where(scheduled_job.c.job_id.in_(chunk)))
                found.extend(ScheduleRow(**row._mapping) for row in rows)
        return found
