"""`change_log` for people, the newest first, a page at a time."""

from __future__ import annotations

from dataclasses import fields

from sqlalchemy import select

from piko.model.changes import LoggedChange
from piko.store.engine import Database
from piko.store.schema.tables.changes import change_log

_COLUMNS = [change_log.c[field.name] for field in fields(LoggedChange)]


class ChangeList:
    """Reads what was changed, and who did it."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def page(self, *, job_id: str | None = None, after: str | None, limit: int) -> list[LoggedChange]:
        """At most `limit` changes, of `job_id` if that is given, that were made before the change `after`."""
        ids = change_log.c.change_id
        statement = select(*_COLUMNS).order_by(ids.desc()).limit(limit)
        if job_id is not None:
            statement = statement.where(change_log.c.job_id == job_id)
        if after is not None:
            statement = statement.where(ids < after)
        async with self._database.statements() as connection:
            return [LoggedChange(**row._mapping) for row in await connection.execute(statement)]
