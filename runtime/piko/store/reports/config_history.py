"""The contents that a job's config has had, for people: never with the secret part."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select

from piko.store.engine import Database
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.revisions import job_config_revision

_MOST = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionReport:
    """One revision; `config_schema` is that of the job now, to know which values to hide."""

    revision: int
    schema_version: int
    config_json: str
    effective_from: datetime | None
    author: str | None
    source: str | None
    error: str | None
    warning: str | None
    secret_blanked_at: datetime | None
    created_at: datetime
    config_schema: str | None


async def revisions_of(database: Database, job_id: str) -> list[RevisionReport]:
    """The latest revisions, oldest first; one statement."""
    tables = (job_config_revision, job_definition)
    columns = [
        next(table.c[field.name] for table in tables if field.name in table.c)
        for field in fields(RevisionReport)
    ]
    joined = job_config_revision.outerjoin(
        job_definition, job_definition.c.job_id == job_config_revision.c.job_id
    )
    statement = (
        select(*columns)
        .select_from(joined)
        .where(job_config_revision.c.job_id == job_id)
        .order_by(job_config_revision.c.revision.desc())
        .limit(_MOST)
    )
    async with database.statements() as connection:
        found = [RevisionReport(**row._mapping) for row in await connection.execute(statement)]
    return found[::-1]
