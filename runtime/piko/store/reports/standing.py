"""Where a job stands: who declares its rows, what the rows say, and what of that the leader has taken up."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import and_, select

from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.replicas import job_definition, runtime_instance
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_ALIVE = timedelta(minutes=1)
_MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStanding:
    """`observed_version` is the version of the row that the leader's status belongs to.

    `hosts` are those of living replicas of the application that registers the job.
    """

    version: int
    updated_at: datetime
    managed_by: str | None
    observed_version: int | None
    config_version: int | None
    config_updated_at: datetime | None
    config_managed_by: str | None
    app: str | None
    handler: str | None
    hosts: tuple[str, ...]


async def standing_of(database: Database, job_id: str) -> JobStanding | None:
    """None: the job has no row. One statement, whose rows are the job's with one replica each."""
    rows, configs, code = scheduled_job.c, job_config.c, job_definition.c
    replicas = runtime_instance.c
    joined = (
        scheduled_job.outerjoin(job_state, job_state.c.job_id == rows.job_id)
        .outerjoin(job_config, configs.job_id == rows.job_id)
        .outerjoin(job_definition, code.job_id == rows.job_id)
        .outerjoin(runtime_instance, and_(replicas.app == code.app, replicas.stopped_at.is_(None)))
    )
    statement = (
        select(
            rows.version,
            rows.updated_at,
            rows.managed_by,
            job_state.c.observed_version,
            configs.version.label("config_version"),
            configs.updated_at.label("config_updated_at"),
            configs.managed_by.label("config_managed_by"),
            code.app,
            code.handler,
        )
        .add_columns(replicas.host, replicas.heartbeat_at, Now().label("now"))
        .select_from(joined)
        .where(rows.job_id == job_id)
        .order_by(replicas.heartbeat_at.desc())
        .limit(_MOST)
    )
    async with database.statements() as connection:
        found = (await connection.execute(statement)).all()
    if not found:
        return None
    alive = {row.host for row in found if row.host is not None and row.now - row.heartbeat_at < _ALIVE}
    values = {name: getattr(found[0], name) for name in _NAMES}
    return JobStanding(**values, hosts=tuple(sorted(alive)))


_NAMES = [field.name for field in fields(JobStanding) if field.name != "hosts"]
