"""Which rows have changed since the last look, for a reader that keeps up with many of them.

A look reads the rows whose time of writing is not older than the previous look, less an overlap, because a
transaction may commit after a later one has. What a look has shown before is left out. In the same statement
the database counts all rows and sums up their times: these show that a row was deleted, was dated back, or
comes from a transaction that was open for longer. Then, and when it is asked for, a look is complete: it
compares all rows, and finds what earlier ones have missed. Rows that this program itself has deleted need no
complete look, as long as the sums say that no others were.

The runtime writes its own values into rows that people edit, so a time alone does not tell who has written.
Of both parts the database gives a checksum: an edit is seen whatever else was written in the same moment, and
what the runtime alone has written is known for that.

Times are those of the database's clock throughout.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    CompoundSelect,
    Table,
    bindparam,
    func,
    null,
    select,
    type_coerce,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.managed import ManagedConfig, ManagedSchedule
from piko.store.checksums import Checksum
from piko.store.engine import Database
from piko.store.schema.column_types import STAMP, Now
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_OVERLAP = timedelta(seconds=5)
"""How much later than the next a transaction may commit without a complete look."""


class RowSign(NamedTuple):
    """What a feed knows of a row; what its table does not have is None.

    `moment` is a checksum of the time of writing, `content` one of what people and resources decide, and
    `progress` one of what the runtime writes.
    """

    moment: int
    version: int | None = None
    content: int | None = None
    progress: int | None = None


class _Whole(NamedTuple):
    """A table at one moment: how many rows, and the sum of their moments."""

    rows: int
    moments: int


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
        self._sign: list[ColumnElement[Any]] = [Checksum(self._stamp)]
        if content:
            self._sign += [table.c.version, Checksum(*(table.c[name] for name in content))]
        if progress:
            self._sign.append(Checksum(*(table.c[name] for name in progress)))
        self._every = select(table.c.job_id, *self._sign)
        self._since = self._statement_since()
        self._known: dict[str, RowSign] = {}
        self._deleted: set[str] = set()
        self._whole = _Whole(0, 0)
        self._looked_at: datetime | None = None

    @property
    def has_begun(self) -> bool:
        """Whether there was a look already."""
        return self._looked_at is not None

    def deleted(self, job_ids: Collection[str]) -> None:
        """Note rows that this program has deleted, as soon as their COMMIT has been answered."""
        self._deleted |= self._known.keys() & job_ids

    async def look(self, *, completely: bool = False) -> list[RowChange]:
        """The changes since the last look; the first one is complete, and reports nothing.

        Raises `DatabaseUnavailableError`.
        """
        first, found = not self.has_begun, None
        async with self._database.statements() as connection:
            deleted, self._deleted = self._deleted & self._known.keys(), set()
            if self._looked_at is None or completely:
                now = (await connection.execute(select(Now()))).scalar_one()
            else:
                now, whole, recent = await self._recent(connection, self._looked_at - _OVERLAP)
                deleted -= recent.keys()  # those were made again
                found = recent if self._with(recent, deleted) == whole else None
            if found is None:
                found = await self._all(connection)
                deleted = self._known.keys() - found.keys()
                whole = self._with(found, deleted)
        changes = self._compared(found, deleted)
        self._looked_at, self._whole = now, whole
        return [] if first else changes

    async def _all(self, connection: AsyncConnection) -> dict[str, RowSign]:
        rows = await connection.execute(self._every)
        return {str(row[0]): RowSign(*row[1:]) for row in rows.all()}

    async def _recent(
        self, connection: AsyncConnection, since: datetime
    ) -> tuple[datetime, _Whole, dict[str, RowSign]]:
        """When it was asked, what the table comes to, and the rows written since, all of one moment."""
        *found, last = (await connection.execute(self._since, {"since": since})).all()
        signs = {str(row[0]): RowSign(*row[4:]) for row in found}
        return last[1], _Whole(int(last[2]), int(last[3])), signs

    def _statement_since(self) -> CompoundSelect[Any]:
        """Built once: there is a look each second, and building it would be most of its cost."""
        number = type_coerce(null(), BigInteger)
        rows = select(self._table.c.job_id, type_coerce(null(), STAMP), number, number, *self._sign)
        total = func.coalesce(func.sum(self._sign[0]), 0)
        whole = select(null(), Now(), func.count(), total, *(null() for _ in self._sign))
        since = bindparam("since", type_=self._stamp.type)
        return union_all(rows.where(self._stamp >= since), whole.select_from(self._table))

    def _with(self, recent: Mapping[str, RowSign], deleted: Collection[str]) -> _Whole:
        """What the table comes to if only `recent` was written, and only `deleted` were deleted."""
        rows, moments = self._whole
        rows -= len(deleted)
        moments -= sum(self._known[job_id].moment for job_id in deleted)
        for job_id, sign in recent.items():
            before = self._known.get(job_id)
            rows += before is None
            moments += sign.moment - (0 if before is None else before.moment)
        return _Whole(rows, moments)

    def _compared(self, found: dict[str, RowSign], deleted: Collection[str]) -> list[RowChange]:
        """What differs from what was known, which is `found` without `deleted` from now on."""
        changes = [
            RowChange(job_id=job_id, before=before, after=sign)
            for job_id, sign in found.items()
            if (before := self._known.get(job_id)) != sign
        ]
        changes += [RowChange(job_id=job_id, before=self._known[job_id], after=None) for job_id in deleted]
        self._known |= found
        for job_id in deleted:
            del self._known[job_id]
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
