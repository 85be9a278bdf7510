"""Rows that a custom resource owns: the operator's gateway to `scheduled_job` and `job_config`.

A write is conditional on what was read before it: once locked, the row must still have the owner and the
version that the decision was made for, else nothing is written and the answer is `STALE`. So no edit made in
between is lost, and neither of two operators can take the other's row. Columns of the runtime are never
touched. Each write has its line in `change_log`, which names who made it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import fields
from typing import Any, Generic

from sqlalchemy import Table, delete, exc, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.managed import (
    Change,
    Held,
    ManagedConfig,
    ManagedSchedule,
    R,
    RefusedChange,
    Verb,
    WriteResult,
)
from piko.store.audited_rows import LINES_A_MINUTE, AuditedRows, Known
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.progress import drop
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.schema.tables.schedules import scheduled_job

_CHUNK = 1000
_CONFIDENTIAL = "secret_json"
_REMOVING = (Verb.DELETE, Verb.FORGET)

Deleted = Callable[[Collection[str]], None]


class ManagedTable(Generic[R]):
    """Reads and writes the rows of one table on behalf of their resources.

    `deleted` is called with the jobs whose rows were deleted, as soon as the COMMIT has been answered.
    """

    def __init__(self, *, database: Database, table: Table, row: type[R], deleted: Deleted) -> None:
        self._database = database
        self._table = table
        self._row: type[R] = row
        self._deleted = deleted
        self._names = [item.name for item in fields(row)]
        self._audited = AuditedRows(database=database, table=table)

    @property
    def name(self) -> str:
        return self._table.name

    async def read(self, job_ids: Collection[str]) -> dict[str, Held[R]]:
        """The rows of `job_ids`, by job; one that does not exist is left out."""
        columns = [self._table.c[name] for name in self._names]
        found: dict[str, Held[R]] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                statement = select(*columns, self._table.c.version).where(self._table.c.job_id.in_(chunk))
                for *values, version in await connection.execute(statement):
                    held = self._held(dict(zip(self._names, values, strict=True)), version)
                    found[held.row.job_id] = held
        return found

    async def owners(self, cluster: str) -> dict[str, str]:
        """Owner by job, of every row that a resource of `cluster` owns."""
        owner = self._table.c.managed_by
        statement = select(self._table.c.job_id, owner).where(
            owner.startswith(f"{cluster}/", autoescape=True)
        )
        async with self._database.statements() as connection:
            rows = await connection.execute(statement)
            # LIKE compares by the collation, which may ignore case; ownership does not.
            return {job_id: by for job_id, by in rows if by.startswith(f"{cluster}/")}

    async def apply(self, changes: Sequence[Change[R]]) -> dict[str, WriteResult | RefusedChange]:
        """Write `changes` (at most one per job) in one transaction; returns the result of each, by job.

        A change that the database refuses does not take the others with it. Raises
        `DatabaseUnavailableError`.
        """
        if not changes:
            return {}
        try:
            async with self._database.transaction() as connection:
                results = await self._write(connection, changes)
        except exc.DBAPIError as error:
            if len(changes) > 1:
                middle = len(changes) // 2
                return {**await self.apply(changes[:middle]), **await self.apply(changes[middle:])}
            only = changes[0]
            if only.verb is Verb.CREATE and await self.read([only.job_id]):
                return {only.job_id: WriteResult.STALE}
            return {only.job_id: RefusedChange(why=_server_text(error))}
        done = (change for change in changes if results[change.job_id] is WriteResult.DONE)
        self._deleted([change.job_id for change in done if change.verb in _REMOVING])
        return results

    async def _write(
        self, connection: AsyncConnection, changes: Sequence[Change[R]]
    ) -> dict[str, WriteResult | RefusedChange]:
        seen = await self._locked(connection, [item.job_id for item in changes if item.seen is not None])
        mine = [
            change
            for change in changes
            if change.verb is Verb.CREATE or seen.get(change.job_id) == _as_read(change)
        ]
        known = await self._settled(connection, mine)
        if rows := [self._values(change.row) for change in mine if change.verb is Verb.CREATE and change.row]:
            await connection.execute(insert(self._table), rows)
        await self._remove(connection, [change for change in mine if change.verb in _REMOVING])
        for change in mine:
            if change.verb not in (Verb.CREATE, *_REMOVING):
                await self._alter(connection, change)
        actors = {change.job_id: change.by for change in mine if change.job_id in known}
        await self._audited.log(connection, known, actors)
        done = {change.job_id for change in mine}
        return {
            change.job_id: WriteResult.DONE if change.job_id in done else WriteResult.STALE
            for change in changes
        }

    async def _settled(self, connection: AsyncConnection, mine: Sequence[Change[R]]) -> Known:
        """What is known of the rows that are about to be written.

        A row that is edited and put back again and again is as it was: some lines a minute say so.
        """
        restored = [change.job_id for change in mine if change.restores]
        others = [change.job_id for change in mine if not change.restores]
        return {
            **await self._audited.settle(connection, others),
            **await self._audited.settle(connection, restored, most_a_minute=LINES_A_MINUTE),
        }

    async def _locked(
        self, connection: AsyncConnection, job_ids: Collection[str]
    ) -> dict[str, tuple[int, str | None]]:
        """Version and owner of those of `job_ids` whose rows are ours to write.

        A row that somebody holds open is left out, and so delays no other.
        """
        if not job_ids:
            return {}
        row = self._table.c
        statement = select(row.job_id, row.version, row.managed_by).where(row.job_id.in_(job_ids))
        rows = await connection.execute(statement.with_for_update(skip_locked=True))
        return {job_id: (version, owner) for job_id, version, owner in rows}

    async def _remove(self, connection: AsyncConnection, changes: Sequence[Change[R]]) -> None:
        """Delete locked rows: one statement for many."""
        for chunk in chunks([change.job_id for change in changes], size=_CHUNK):
            await connection.execute(delete(self._table).where(self._table.c.job_id.in_(chunk)))
        for change in changes:
            if change.verb is Verb.FORGET:
                await self._forget(connection, change.job_id)

    async def _alter(self, connection: AsyncConnection, change: Change[R]) -> None:
        """Change a locked row."""
        values: dict[str, Any]
        if change.verb is Verb.REPLACE and change.row is not None:
            values = self._values(change.row)
        else:
            owner = {} if change.verb is Verb.SUSPEND else {"managed_by": None}
            values = owner | ({} if change.verb is Verb.HAND_BACK else {"enabled": False})
        values["version"] = self._table.c.version + 1
        row = update(self._table).where(self._table.c.job_id == change.job_id)
        await connection.execute(row.values(values))

    async def _forget(self, connection: AsyncConnection, job_id: str) -> None:
        if self._table is scheduled_job:
            await drop(connection, job_id)
        else:
            revisions = job_config_revision
            await connection.execute(delete(revisions).where(revisions.c.job_id == job_id))

    def _held(self, values: dict[str, Any], version: int) -> Held[R]:
        secret = self._database.config_keys.unseal(values["job_id"], values.get(_CONFIDENTIAL))
        if _CONFIDENTIAL in values:
            values[_CONFIDENTIAL] = secret.text
        return Held(row=self._row(**values), version=version, secret_unreadable=secret.unreadable)

    def _values(self, row: R) -> dict[str, Any]:
        values = {name: getattr(row, name) for name in self._names}
        if _CONFIDENTIAL in values:
            values[_CONFIDENTIAL] = self._database.config_keys.seal(row.job_id, values[_CONFIDENTIAL])
        return values


def nobody_asks(_job_ids: Collection[str]) -> None:
    """Nobody keeps up with the rows."""


def managed_schedules(database: Database, *, deleted: Deleted = nobody_asks) -> ManagedTable[ManagedSchedule]:
    return ManagedTable(database=database, table=scheduled_job, row=ManagedSchedule, deleted=deleted)


def managed_configs(database: Database, *, deleted: Deleted = nobody_asks) -> ManagedTable[ManagedConfig]:
    return ManagedTable(database=database, table=job_config, row=ManagedConfig, deleted=deleted)


def _as_read(change: Change[R]) -> tuple[int, str | None]:
    """Version and owner of the row that `change` was decided for."""
    if change.seen is None:
        raise ValueError(
            f"change of {change.job_id!r}: {change.verb} needs `seen`, the row it was decided for"
        )
    return change.seen.version, change.seen.row.managed_by


def _server_text(error: exc.DBAPIError) -> str:
    # The driver's own words only: SQLAlchemy's text holds the bound values, which may be secret.
    arguments = getattr(error.orig, "args", ())
    return str(arguments[-1]) if arguments else type(error.orig).__name__
