"""`job_config` and its history `job_config_revision`."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select

from piko.model.configs import ConfigRevision, ConfigRow
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
_ROW = [job_config.c[name] for name in ConfigRow.__dataclass_fields__]
_REVISION = [job_config_revision.c[name] for name in ConfigRevision.__dataclass_fields__]


class ConfigStore:
    """Reads configs, and keeps every content that was seen."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

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
                found.extend(ConfigRow(**row._mapping) for row in rows)
        return found

    async def revisions(self, job_ids: Collection[str]) -> list[ConfigRevision]:
        """Every revision of `job_ids`, oldest first."""
        found: list[ConfigRevision] = []
        columns = job_config_revision.c
        statement = select(*_REVISION).order_by(columns.job_id, columns.revision)
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                rows = await connection.execute(statement.where(columns.job_id.in_(chunk)))
                found.extend(ConfigRevision(**row._mapping) for row in rows)
        return found

    async def newest_revisions(
        self, job_id: str, *, before: int | None, most: int | None
    ) -> list[ConfigRevision]:
        """The newest revisions of a job, newest first: at most `most`, and only those before that number."""
        columns = job_config_revision.c
        statement = select(*_REVISION).where(columns.job_id == job_id)
        if before is not None:
            statement = statement.where(columns.revision < before)
        ordered = statement.order_by(columns.revision.desc()).limit(most)
        async with self._database.statements() as connection:
            return [ConfigRevision(**row._mapping) for row in await connection.execute(ordered)]

    async def record(self, revisions: Sequence[ConfigRevision], fence: Fence) -> None:
        """Keep `revisions`; of one that is there, the content stays. Raises `FencedError`."""
        rows = [
            {name: getattr(item, name) for name in ConfigRevision.__dataclass_fields__} for item in revisions
        ]
        if not rows:
            return
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await connection.execute(
                upsert(self._database, job_config_revision, update=("error", "warning", "row_version")), rows
            )
