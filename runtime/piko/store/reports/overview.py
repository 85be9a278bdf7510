"""Jobs and runs as they are shown to people."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select

from piko.core.types import FAILED_STATES, JobStatus
from piko.errors import NotFoundError, did_you_mean
from piko.model.objectives import LATE_S
from piko.store.engine import Database
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state


@dataclass(frozen=True, slots=True, kw_only=True)
class JobReport:
    """A schedule's row, the leader's account of it, and what the code says; None where there is none yet."""

    job_id: str
    schedule_type: str
    schedule_expr: str
    timezone: str | None
    enabled: bool
    paused_until: datetime | None
    start_at: datetime | None
    end_at: datetime | None
    last_data_time: datetime | None
    managed_by: str | None
    status: str | None
    message: str | None
    next_run_at: datetime | None
    last_state: str | None
    last_scheduled_time: datetime | None
    last_duration_s: float | None
    last_success_at: datetime | None
    last_error: str | None
    consecutive_failures: int | None
    app: str | None
    stateful: bool | None
    version: int
    updated_at: datetime

    def is_late(self, now: datetime) -> bool:
        """Whether its next due time passed more than `LATE_S` ago, and nothing has claimed it."""
        due = self.next_run_at
        scheduled = self.enabled and self.status == JobStatus.SCHEDULED
        return scheduled and due is not None and (now - due).total_seconds() > LATE_S

    @property
    def is_failing(self) -> bool:
        """Whether its last run failed, and nobody has paused it since."""
        return self.enabled and bool(self.consecutive_failures) and self.last_state in FAILED_STATES


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """One row of `job_run`."""

    run_id: str
    job_id: str
    scheduled_time: datetime
    attempt: int
    state: str
    trigger_type: str
    not_before: datetime | None
    window_start: datetime | None
    window_end: datetime | None
    missed_through: datetime | None
    missed_count: int | None
    config_revision: int | None
    config_overrides: str | None
    backfill_id: str | None
    instance_id: str | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_s: float | None
    error_type: str | None
    error: str | None


_JOB_TABLES = (scheduled_job, job_state, job_definition)
JOB_COLUMNS = [
    next(table.c[field.name] for table in _JOB_TABLES if field.name in table.c) for field in fields(JobReport)
]
JOBS_JOINED = scheduled_job.outerjoin(job_state, job_state.c.job_id == scheduled_job.c.job_id).outerjoin(
    job_definition, job_definition.c.job_id == scheduled_job.c.job_id
)
"""Where `JOB_COLUMNS` come from."""
RUN_COLUMNS_SHOWN = [job_run.c[field.name] for field in fields(RunReport)]


_ALIKE, _FIRST = 500, 11


class Overview:
    """Reads what people ask for."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def jobs(self, job_ids: Collection[str] = ()) -> list[JobReport]:
        """The rows of `job_ids`, or all, by job id."""
        statement = select(*JOB_COLUMNS).select_from(JOBS_JOINED).order_by(scheduled_job.c.job_id)
        if job_ids:
            statement = statement.where(scheduled_job.c.job_id.in_(sorted(job_ids)))
        async with self._database.statements() as connection:
            return [JobReport(**row._mapping) for row in await connection.execute(statement)]

    async def job_ids(self) -> list[str]:
        """The ids of all rows."""
        statement = select(scheduled_job.c.job_id).order_by(scheduled_job.c.job_id)
        async with self._database.statements() as connection:
            return list((await connection.execute(statement)).scalars())

    async def near(self, job_id: str) -> tuple[list[str], list[str]]:
        """Ids that begin as `job_id` does, and the first of all; some hundred at most."""
        ids = scheduled_job.c.job_id
        statement = select(ids).order_by(ids)
        async with self._database.statements() as connection:
            alike = await connection.execute(
                statement.where(ids.startswith(job_id[:1], autoescape=True)).limit(_ALIKE)
            )
            first = await connection.execute(statement.limit(_FIRST))
            return list(alike.scalars()), list(first.scalars())

    async def job(self, job_id: str) -> JobReport | None:
        found = await self.jobs([job_id])
        return found[0] if found else None

    async def run(self, run_id: str) -> RunReport | None:
        """The run of that id."""
        statement = select(*RUN_COLUMNS_SHOWN).where(job_run.c.run_id == run_id)
        async with self._database.statements() as connection:
            row = (await connection.execute(statement)).first()
            return None if row is None else RunReport(**row._mapping)

    async def runs_at(self, job_id: str, moment: datetime) -> list[RunReport]:
        """Runs for the due time `moment`, and the row of due times left out that covers it."""
        columns = job_run.c
        latest = (
            select(*RUN_COLUMNS_SHOWN)
            .where(columns.job_id == job_id, columns.scheduled_time <= moment)
            .order_by(columns.scheduled_time.desc(), columns.run_id.desc())
            .limit(100)
        )
        async with self._database.statements() as connection:
            rows = [RunReport(**row._mapping) for row in await connection.execute(latest)]
        return [row for row in rows if row.scheduled_time == moment or _covers(row, moment)]

    async def attempts(self, job_id: str, scheduled_time: datetime) -> list[RunReport]:
        """Every run for one due time, in the order in which they were queued."""
        statement = (
            select(*RUN_COLUMNS_SHOWN)
            .where(job_run.c.job_id == job_id, job_run.c.scheduled_time == scheduled_time)
            .order_by(job_run.c.run_id)
        )
        async with self._database.statements() as connection:
            return [RunReport(**row._mapping) for row in await connection.execute(statement)]

    async def schemas(self, job_ids: Collection[str]) -> dict[str, str | None]:
        """The JSON Schema of each job's config as the code published it; unknown jobs are left out."""
        statement = select(job_definition.c.job_id, job_definition.c.config_schema)
        async with self._database.statements() as connection:
            rows = await connection.execute(statement.where(job_definition.c.job_id.in_(sorted(job_ids))))
            return {row.job_id: row.config_schema for row in rows}


async def unknown_job(database: Database, job_id: str) -> NotFoundError:
    """The error for a job that has no row, with the job that was probably meant."""
    alike, first = await Overview(database=database).near(job_id)
    meant = did_you_mean(job_id, sorted({*alike, *first}))
    listed = f"; known jobs: {', '.join(first[:10])}" + (" …" if len(first) > 10 else "")
    return NotFoundError(
        f"no job {job_id!r} in scheduled_job{meant or (listed if first else '; there are no jobs yet')}"
    )


def unknown_run(run_id: str) -> NotFoundError:
    """The error for a run that has no row."""
    return NotFoundError(f"no run {run_id!r} in job_run; it may have been pruned, see history_successful")


def _covers(row: RunReport, moment: datetime) -> bool:
    return row.missed_through is not None and row.scheduled_time <= moment <= row.missed_through
