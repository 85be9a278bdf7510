"""`job_definition`: what the code of the running replicas declares, for others to read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import timedelta
from functools import partial

from sqlalchemy import and_, delete, select

from piko.model.definitions import DefiningReplica, DefinitionRow, Published
from piko.store.engine import Database
from piko.store.isolation import write_isolated
from piko.store.pages import PageReader
from piko.store.schema.column_types import Now
from piko.store.schema.tables.data_deadlines import data_deadline
from piko.store.schema.tables.replicas import job_definition, runtime_instance
from piko.store.upsert import upsert

_CHUNK = 250
_NAMES = tuple(field.name for field in fields(DefinitionRow))


class DefinitionStore:
    """The published definitions."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def holders(self, job_ids: Collection[str], *, within_s: float) -> dict[str, DefiningReplica]:
        """For each of `job_ids` a replica that has it, heard of within `within_s` seconds; else left out."""
        instance, definition = runtime_instance.c, job_definition.c
        living = and_(instance.app == definition.app, instance.stopped_at.is_(None))
        statement = (
            select(definition.job_id, definition.instance_id.label("publisher"), instance.app,
                   instance.instance_id, instance.host)
            .select_from(job_definition.join(runtime_instance, living))
            .where(definition.job_id.in_(sorted(job_ids)))
        )  # fmt: skip
        async with self._database.statements() as connection:
            now = (await connection.execute(select(Now().label("now")))).scalar_one()
            since = now - timedelta(seconds=within_s)
            rows = await connection.execute(statement.where(instance.heartbeat_at > since))
            found: dict[str, DefiningReplica] = {}
            for row in rows:
                published = row.instance_id == row.publisher
                if published or row.job_id not in found:
                    found[row.job_id] = DefiningReplica(
                        app=row.app, instance_id=row.instance_id, host=row.host, published=published
                    )
            return found

    async def publish(self, definitions: Sequence[DefinitionRow]) -> Published:
        """Write the definitions that differ from what is published; those of one job do not hold up others.

        Where the database refuses all of them, that is no job's trouble: then what it raised is raised.
        """
        if not definitions:
            return Published()
        columns = (job_definition.c.job_id, job_definition.c.content_hash)
        async with self._database.statements() as connection:
            published: dict[str, str] = {}
            async for page in PageReader(columns).pages(connection):
                published.update(page)
        changed = sorted(
            (item for item in definitions if published.get(item.job_id) != item.content_hash),
            key=lambda item: item.job_id,  # replicas that start together write in one order
        )
        count, refused = 0, dict[str, str]()
        for start in range(0, len(changed), _CHUNK):
            chunk = changed[start : start + _CHUNK]
            ids = [item.job_id for item in chunk]
            written = await write_isolated(partial(self._write, chunk), jobs=ids.copy)
            count += sum(written.results)
            refused.update(written.refused)
        if len(refused) == len(definitions):
            await self._write(changed[:_CHUNK], None)
        return Published(changed=count, refused=refused)

    async def _write(self, definitions: Sequence[DefinitionRow], jobs: Collection[str] | None) -> int:
        rows = [
            {name: getattr(item, name) for name in _NAMES}
            for item in definitions
            if jobs is None or item.job_id in jobs
        ]
        async with self._database.transaction() as connection:
            await connection.execute(upsert(self._database, job_definition, update=_NAMES[1:]), rows)
            # What the code says now may have the data late sooner: the leader finds out from when on.
            job_ids = [row["job_id"] for row in rows]
            await connection.execute(delete(data_deadline).where(data_deadline.c.job_id.in_(job_ids)))
        return len(rows)
