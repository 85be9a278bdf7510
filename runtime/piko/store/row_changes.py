"""Which rows have changed since the last look, for a reader that keeps up with many of them.

A look reads the rows whose time of writing is not older than the previous look, less an overlap, because a
transaction may commit after a later one has. What a look has shown before is left out. A deleted row has no
time; the number of rows shows that one is missing. A complete look compares all rows, and finds what an
earlier look has missed.

Times are those of the database's clock throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_OVERLAP = timedelta(seconds=5)
"""How much later than the next a transaction may commit and still be seen by the next look."""

Sign = tuple[object, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """A row that differs from what was known; `before` or `after` is empty if it did not or does not exist.

    Both hold the time of writing, and then the signs of the table: version, owner, and the values that the
    runtime itself writes.
    """

    job_id: str
    before: Sign
    after: Sign


class RowChanges:
    """Follows the rows of one table, by job."""

    def __init__(self, *, database: Database, table: Table, sign: Sequence[str] = ()) -> None:
        self._database = database
        self._table = table
        self._stamp = table.c.updated_at
        self._sign = [table.c[name] for name in sign]
        self._known: dict[str, Sign] = {}
        self._looked_at: datetime | None = None

    @property
    def name(self) -> str:
        return self._table.name

    async def look(self, *, completely: bool = False) -> list[RowChange]:
        """The changes since the last look; the first one is complete, and reports nothing.

        Raises `DatabaseUnavailableError`.
        """
        first = self._looked_at is None
        since = None if completely or self._looked_at is None else self._looked_at - _OVERLAP
        async with self._database.statements() as connection:
            now, rows = (
                await connection.execute(select(Now().label("now"), func.count()).select_from(self._table))
            ).one()
            found = await self._found(connection, since)
            if since is not None and rows != len(self._known.keys() | found.keys()):
                found = await self._found(connection, None)
                since = None
        self._looked_at = now
        changes = self._compared(found, complete=since is None)
        return [] if first else changes

    async def _found(self, connection: AsyncConnection, since: datetime | None) -> dict[str, Sign]:
        statement = select(self._table.c.job_id, self._stamp, *self._sign)
        if since is not None:
            statement = statement.where(self._stamp >= since)
        rows: Sequence[Row[tuple[object, ...]]] = (await connection.execute(statement)).all()
        return {str(row[0]): tuple(row[1:]) for row in rows}

    def _compared(self, found: dict[str, Sign], *, complete: bool) -> list[RowChange]:
        changes = [
            RowChange(job_id=job_id, before=before, after=sign)
            for job_id, sign in found.items()
            if (before := self._known.get(job_id, ())) != sign
        ]
        if complete:
            deleted = [job_id for job_id in self._known if job_id not in found]
            changes += [RowChange(job_id=job_id, before=self._known[job_id], after=()) for job_id in deleted]
            self._known = found
        else:
            self._known |= found
        return changes


def schedule_changes(database: Database) -> RowChanges:
    sign = ("version", "managed_by", "last_data_time", "completed_at")
    return RowChanges(database=database, table=scheduled_job, sign=sign)


def config_changes(database: Database) -> RowChanges:
    return RowChanges(database=database, table=job_config, sign=("version", "managed_by"))


def state_changes(database: Database) -> RowChanges:
    return RowChanges(database=database, table=job_state)
