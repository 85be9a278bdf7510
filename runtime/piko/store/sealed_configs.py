"""The secret parts of configs as the tables hold them: encrypting what is plain, or has an older key.

What a config says stays the same, so neither its version nor its revisions change, and no owner is asked. It
is read and written page by page, each in a transaction of its own, and may be done again at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, Select, Table, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.identity import content_hash
from piko.model.changes import Actor
from piko.model.configs import ConfigRevision, hashed_parts
from piko.store.audited_rows import audited_configs
from piko.store.changes import log_change
from piko.store.configs import REVISION_COLUMNS
from piko.store.engine import Database
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.revisions import job_config_revision

_PAGE = 100


@dataclass(slots=True, kw_only=True)
class SealedConfigs:
    """What was encrypted, or would be: jobs by their rows, and the number of revisions.

    `unreadable` says by job why its row cannot be read. Nothing is done about those.
    """

    jobs: list[str] = field(default_factory=list)
    revisions: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)


class StoredSecrets:
    """Encrypts what is stored, with the first key of `database`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._keys = database.config_keys
        self._audited = audited_configs(database)

    async def seal(self, actor: Actor, *, dry_run: bool) -> SealedConfigs:
        """Encrypt every secret part that the first key did not; `dry_run` says of which that is true.

        Raises `DatabaseUnavailableError`; what was encrypted until then stays so.
        """
        done = SealedConfigs()
        await self._seal_rows(done, actor, dry_run=dry_run)
        await self._seal_revisions(done, dry_run=dry_run)
        return done

    async def _seal_rows(self, done: SealedConfigs, actor: Actor, *, dry_run: bool) -> None:
        columns = job_config.c
        statement = select(columns.job_id, columns.secret_json)
        after: tuple[Any, ...] | None = None
        while True:
            async with self._database.transaction() as connection:
                rows = await _page(connection, job_config, statement, after)
                stale = self._stale(rows)
                done.unreadable |= {
                    row.job_id: reason
                    for row in rows
                    if (reason := self._keys.unseal(row.job_id, row.secret_json).unreadable) is not None
                }
                if stale and not dry_run:
                    await self._write_rows(connection, stale, actor)
            done.jobs += [row.job_id for row in stale]
            if len(rows) < _PAGE:
                return
            after = (rows[-1].job_id,)

    async def _write_rows(self, connection: AsyncConnection, rows: Sequence[Row[Any]], actor: Actor) -> None:
        known = await self._audited.settle(connection, [row.job_id for row in rows])
        for row in rows:
            sealed = self._resealed(row)
            await connection.execute(
                update(job_config).where(job_config.c.job_id == row.job_id).values(secret_json=sealed)
            )
            await log_change(connection, actor, "encrypt_config", job_id=row.job_id)
        await self._audited.log(connection, known, {row.job_id: actor for row in rows}, logged=False)

    async def _seal_revisions(self, done: SealedConfigs, *, dry_run: bool) -> None:
        columns = job_config_revision.c
        statement = select(*REVISION_COLUMNS)
        after: tuple[Any, ...] | None = None
        while True:
            async with self._database.transaction() as connection:
                rows = await _page(connection, job_config_revision, statement, after)
                stale = self._stale(rows)
                for row in stale if not dry_run else ():
                    sealed = self._resealed(row)
                    digest = content_hash(*hashed_parts(ConfigRevision(**row._mapping), sealed))
                    await connection.execute(
                        update(job_config_revision)
                        .where(columns.job_id == row.job_id, columns.revision == row.revision)
                        .values(secret_json=sealed, content_hash=digest)
                    )
            done.revisions += len(stale)
            if len(rows) < _PAGE:
                return
            after = (rows[-1].job_id, rows[-1].revision)

    def _stale(self, rows: Sequence[Row[Any]]) -> list[Row[Any]]:
        """Those of `rows` that can be read, and are not encrypted with the first key."""
        return [
            row
            for row in rows
            if not self._keys.is_sealed(row.secret_json)
            and self._keys.unseal(row.job_id, row.secret_json).unreadable is None
        ]

    def _resealed(self, row: Row[Any]) -> str | None:
        return self._keys.seal(row.job_id, self._keys.unseal(row.job_id, row.secret_json).text)


async def _page(
    connection: AsyncConnection, table: Table, statement: Select[Any], after: tuple[Any, ...] | None
) -> Sequence[Row[Any]]:
    """The next rows of `table` with a secret part, locked; those that somebody holds open are waited for."""
    key = list(table.primary_key.columns)
    wanted = statement.where(table.c.secret_json.is_not(None)).order_by(*key).limit(_PAGE)
    if after is not None:
        wanted = wanted.where(tuple_(*key) > after)
    rows: Sequence[Row[Any]] = (await connection.execute(wanted.with_for_update())).all()
    return rows
