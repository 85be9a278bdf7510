"""What the runtime says about jobs, for the status of their resources."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields

from sqlalchemy import select

from piko.model.summaries import ConfigSummary, JobSummary, RevisionSummary
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_CHUNK = 1000


class Summaries:
    """What the runtime says about jobs, for the status of their resources."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def jobs(self, job_ids: Collection[str]) -> dict[str, JobSummary]:
        """By job; a job without a schedule row is left out."""
        names = [item.name for item in fields(JobSummary)]
        own = {"job_id", "version", "managed_by", "last_data_time", "completed_at", "updated_at"}
        columns = [(scheduled_job if name in own else job_state).c[name] for name in names]
        joined = scheduled_job.outerjoin(job_state, scheduled_job.c.job_id == job_state.c.job_id)
        found: dict[str, JobSummary] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                statement = select(*columns).select_from(joined).where(scheduled_job.c.job_id.in_(chunk))
                for values in await connection.execute(statement):
                    summary = JobSummary(**dict(zip(names, values, strict=True)))
                    found[summary.job_id] = summary
        return found

    async def configs(self, job_ids: Collection[str]) -> dict[str, ConfigSummary]:
        """By job; a job without a config row is left out."""
        names = [item.name for item in fields(ConfigSummary)]
        found: dict[str, ConfigSummary] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                statement = select(*[job_config.c[name] for name in names]).where(
                    job_config.c.job_id.in_(chunk)
                )
                for values in await connection.execute(statement):
                    summary = ConfigSummary(**dict(zip(names, values, strict=True)))
                    found[summary.job_id] = summary
        return found

    async def revisions(self, job_ids: Collection[str]) -> Mapping[str, list[RevisionSummary]]:
        """Revisions of each job's config, oldest first."""
        names = [item.name for item in fields(RevisionSummary)]
        found: dict[str, list[RevisionSummary]] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                statement = (
                    select(*[job_config_revision.c[name] for name in names])
                    .where(job_config_revision.c.job_id.in_(chunk))
                    .order_by(job_config_revision.c.job_id, job_config_revision.c.revision)
                )
                for values in await connection.execute(statement):
                    summary = RevisionSummary(**dict(zip(names, values, strict=True)))
                    found.setdefault(summary.job_id, []).append(summary)
        return found
