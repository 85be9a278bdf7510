"""Which pause of a job lasted at an instant, as the change log has them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from piko.store.engine import Database
from piko.store.schema.tables.changes import change_log


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedPause:
    """The last pause of a job before an instant, that nobody had ended by then."""

    at: datetime
    who: str
    reason: str | None


async def pause_at(database: Database, job_id: str, at: datetime) -> LoggedPause | None:
    """The pause of the job that lasted at an instant, as far as `change_log` knows."""
    columns = change_log.c
    statement = (
        select(columns.at, columns.who, columns.what, columns.reason)
        .where(columns.job_id == job_id, columns.what.in_(["pause", "resume"]), columns.at <= at)
        .order_by(columns.change_id.desc())
        .limit(1)
    )
    async with database.statements() as connection:
        row = (await connection.execute(statement)).first()
    if row is None or row.what != "pause":
        return None
    return LoggedPause(at=row.at, who=row.who, reason=row.reason)
