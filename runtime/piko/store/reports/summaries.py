"""What the runtime says about jobs, for the status of their resources."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import Select, func, select, union_all

from piko.core.types import FINAL_STATES, RunState
from piko.model.summaries import ConfigSummary, JobSummary, RecentRun, RevisionSummary
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_CHUNK = 1000
_WALKS = 50
"""Jobs whose runs are read by one statement."""
_RECENT = 5
_ERROR = 512
"""Characters of an error that are read."""
_RAN = sorted(state.value for state in FINAL_STATES - {RunState.MISSED, RunState.SKIPPED})


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

    async def recent_runs(self, job_ids: Collection[str]) -> dict[str, list[RecentRun]]:
        """Of each job, the five runs with the newest due times that have ended, newest first.

        Those of a backfill are left out: they say nothing of how the job does now.
        """
        found: dict[str, list[RecentRun]] = {job_id: [] for job_id in job_ids}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_WALKS):
                walks = [select(_newest(job_id).subquery()) for job_id in chunk]
                for values in await connection.execute(union_all(*walks)):
                    run = RecentRun(**values._mapping)
                    found[run.job_id].append(run)
        for runs in found.values():
            runs.sort(
                key=lambda run: (run.scheduled_time, run.started_at or run.scheduled_time), reverse=True
            )
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


def _newest(job_id: str) -> Select[Any]:
    """A walk from the end of the index of job and due time: it stops at the fifth run."""
    run = job_run.c
    columns = (run.job_id, run.run_id, run.state, run.scheduled_time, run.started_at, run.duration_s)
    return (
        select(*columns, func.substr(run.error, 1, _ERROR).label("error"))
        # Bounded from both sides, and part of the order, which has MariaDB walk this index.
        .where(run.job_id >= job_id, run.job_id <= job_id, run.state.in_(_RAN), run.backfill_id.is_(None))
        .order_by(run.job_id.desc(), run.scheduled_time.desc(), run.run_id.desc())
        .limit(_RECENT)
    )
