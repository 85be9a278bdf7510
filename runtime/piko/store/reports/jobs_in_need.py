"""Jobs that need someone, for the front page and for the person on call."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, or_, select

from piko.core.types import JobStatus
from piko.store.engine import Database
from piko.store.reports.jobs import is_failing, is_late
from piko.store.reports.overview import JOB_COLUMNS, JOBS_JOINED, JobReport
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

UNABLE = (JobStatus.INVALID, JobStatus.UNREGISTERED, JobStatus.WAITING_FOR_CONFIG)
"""A job of such a status does not run until somebody repairs it."""


async def jobs_in_need(database: Database, *, now: datetime, limit: int) -> list[JobReport]:
    """At most `limit` jobs that are late, fail or cannot run: first those whose data is the oldest."""
    reached = func.coalesce(scheduled_job.c.last_data_time, job_state.c.last_success_at)
    statement = (
        select(*JOB_COLUMNS)
        .select_from(JOBS_JOINED)
        .where(or_(is_late(now), is_failing(), job_state.c.status.in_(sorted(UNABLE))))
        .order_by(reached.is_not(None), reached, scheduled_job.c.job_id)
        .limit(limit)
    )
    async with database.statements() as connection:
        return [JobReport(**row._mapping) for row in await connection.execute(statement)]
