"""`job_config` and its history `job_config_revision`."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import Row, select

from piko.config_keys import ConfigKeys
from piko.identity import content_hash
from piko.model.configs import ConfigRevision, ConfigRow, hashed_parts
from piko.model.digests import Digest, Mark
from piko.model.fences import Fence
from piko.store.chunks import chunks
from piko.store.digests import read_digests, read_mark
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.tables.configs import job_config
from piko.store.schema.tables.revisions import job_config_revision
from piko.store.upsert import upsert

_CHUNK = 250
_NO_COLUMN = "secret_unreadable"
_ROW = [job_config.c[item.name] for item in fields(ConfigRow) if item.name != _NO_COLUMN]
REVISION_COLUMNS = [
    job_config_revision.c[item.name] for item in fields(ConfigRevision) if item.name != _NO_COLUMN
]
"""Those of `job_config_revision`, by the fields of `ConfigRevision`."""


class ConfigStore:
    """Reads configs, and keeps every content that was seen. Their secret parts are encrypted at rest."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._keys = database.config_keys

    async def digests(self) -> dict[str, Digest]:
        async with self._database.statements() as connection:
            return await read_digests(connection, job_config)

    async def mark(self) -> Mark | None:
        """What changes with every edit of any row; None where there is no such thing."""
        async with self._database.statements() as connection:
            return await read_mark(connection, job_config)

    async def read(self, job_ids: Collection[str]) -> list[ConfigRow]:
        found: list[ConfigRow] = []
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                rows = await connection.execute(select(*_ROW).where(job_config.c.job_id.in_(chunk)))
                found.extend(ConfigRow(**_readable(row, self._keys)) for row in rows)
        return found

    async def revisions(self, job_ids: Collection[str]) -> list[ConfigRevision]:
        """Every revision of `job_ids`, oldest first."""
        found: list[ConfigRevision] = []
        columns = job_config_revision.c
        statement = select(*REVISION_COLUMNS).order_by(columns.job_id, columns.revision)
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                rows = await connection.execute(statement.where(columns.job_id.in_(chunk)))
                found.extend(ConfigRevision(**_readable(row, self._keys)) for row in rows)
        return found

    async def newest_revisions(
        self, job_id: str, *, before: int | None, most: int | None
    ) -> list[ConfigRevision]:
        """The newest revisions of a job, newest first: at most `most`, and only those before that number."""
        columns = job_config_revision.c
        statement = select(*REVISION_COLUMNS).where(columns.job_id == job_id)
        if before is not None:
            statement = statement.where(columns.revision < before)
        ordered = statement.order_by(columns.revision.desc()).limit(most)
        async with self._database.statements() as connection:
            rows = await connection.execute(ordered)
            return [ConfigRevision(**_readable(row, self._keys)) for row in rows]

    async def record(self, revisions: Sequence[ConfigRevision], fence: Fence) -> None:
        """Keep `revisions`; of one that is there, the content stays. Raises `FencedError`."""
        rows = [self._stored(item) for item in revisions]
        if not rows:
            return
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await connection.execute(
                upsert(self._database, job_config_revision, update=("error", "warning", "row_version")), rows
            )

    def _stored(self, revision: ConfigRevision) -> dict[str, Any]:
        values = {column.name: getattr(revision, column.name) for column in REVISION_COLUMNS}
        sealed = self._keys.seal(revision.job_id, revision.secret_json)
        if sealed != revision.secret_json:  # a hash of the plain text would let a short secret be guessed
            values |= {"secret_json": sealed, "content_hash": content_hash(*hashed_parts(revision, sealed))}
        return values


def _readable(row: Row[Any], keys: ConfigKeys) -> dict[str, Any]:
    secret = keys.unseal(row.job_id, row.secret_json)
    return {**row._mapping, "secret_json": secret.text, _NO_COLUMN: secret.unreadable}
