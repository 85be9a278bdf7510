"""Which rows have changed since the last look, for a reader that keeps up with many of them.

A look reads the rows whose time of writing is not older than the previous look, less an overlap, because a
transaction may commit after a later one has. What a look has shown before is left out. A deleted row has no
time; the number of rows shows that one is missing. A complete look compares all rows, and finds what an
earlier look has missed.

The runtime writes its own values into rows that people edit, so a time alone does not tell who has written.
Of both parts the database gives a checksum: an edit is seen whatever else was written in the same moment, and
what the runtime alone has written is known for that.

Times are those of the database's clock throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Table, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.managed import ManagedConfig, ManagedSchedule
from piko.store.checksums import Checksum
from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_OVERLAP = timedelta(seconds=5)
"""How much later than the next a transaction may commit and still be seen by the next look."""


class RowSign(NamedTuple):
    """What a feed knows of a row; what its table does not have is None.

    `content` is a checksum of what people and resources decide, `progress` one of what the runtime writes.
    """

    written_at: datetime
    version: int | None = None
    content: int | None = None
    progress: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """A row that differs from what was known; `before` or `after` is None if it did not or does not exist."""

    job_id: str
    before: RowSign | None
    after: RowSign | None

    @property
    def is_edit(self) -> bool:
        """Whether somebody but the runtime may have made it."""
        if self.before is None or self.after is None:
            return True
        moved = self.before.progress != self.after.progress
        same = (self.before.version, self.before.content) == (self.after.version, self.after.content)
        return not (moved and same)


class RowChanges:
    """Follows the rows of one table, by job.

    - `content`: the columns that people and resources decide.
    - `progress`: the columns that the runtime writes by itself.
    """

    def __init__(
        self, *, database: Database, table: Table, content: Sequence[str] = (), progress: Sequence[str] = ()
    ) -> None:
        self._database = database
        self._table = table
        self._stamp = table.c.updated_at
        self._sign: list[ColumnElement[Any]] = [self._stamp]
        if content:
            self._sign += [table.c.version, Checksum(*(table.c[name] for name in content))]
        if progress:
            self._sign.append(Checksum(*(table.c[name] for name in progress)))
        self._known: dict[str, RowSign] = {}
        self._looked_at: datetime | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was a look already."""
        return self._looked_at is not None

    async def look(self, *, completely: bool = False) -> list[RowChange]:
        """The changes since the last look; the first one is complete, and reports nothing.

        Raises `DatabaseUnavailableError`.
        """
        first = not self.has_begun
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

    async def _found(self, connection: AsyncConnection, since: datetime | None) -> dict[str, RowSign]:
        statement = select(self._table.c.job_id, *self._sign)
        if since is not None:
            statement = statement.where(self._stamp >= since)
        rows = (await connection.execute(statement)).all()
        return {str(row[0]): RowSign(*row[1:]) for row in rows}

    def _compared(self, found: dict[str, RowSign], *, complete: bool) -> list[RowChange]:
        changes = [
            RowChange(job_id=job_id, before=before, after=sign)
            for job_id, sign in found.items()
            if (before := self._known.get(job_id)) != sign
        ]
        if complete:
            deleted = [job_id for job_id in self._known if job_id not in found]
            changes += [
                RowChange(job_id=job_id, before=self._known[job_id], after=None) for job_id in deleted
            ]
            self._known = found
        else:
            self._known |= found
        return changes


def schedule_changes(database: Database) -> RowChanges:
    return RowChanges(
        database=database,
        table=scheduled_job,
        content=[item.name for item in fields(ManagedSchedule)],
        progress=("last_data_time", "completed_at"),
    )


def config_changes(database: Database) -> RowChanges:
    return RowChanges(
        database=database, table=job_config, content=[item.name for item in fields(ManagedConfig)]
    )


def state_changes(database: Database) -> RowChanges:
    return RowChanges(database=database, table=job_state)
