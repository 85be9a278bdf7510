"""`job_definition`: what the code of the running replicas declares, for others to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from piko.store.digests import read_pages
from piko.store.engine import Database
from piko.store.tables import job_definition
from piko.store.upsert import upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRow:
    """One registered job."""

    job_id: str
    app: str
    handler: str
    stateful: bool
    backfill_policy: str | None
    config_schema: str | None
    content_hash: str
    instance_id: str


_CHUNK = 250
_NAMES = tuple(field.name for field in fields(DefinitionRow))


class DefinitionStore:
    """The published definitions."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def publish(self, definitions: Sequence[DefinitionRow]) -> int:
        """Write the definitions that differ from what is published; how many did."""
        if not definitions:
            return 0
        columns = (job_definition.c.job_id, job_definition.c.content_hash)
        async with self._database.statements() as connection:
            published = {
                row.job_id: row.content_hash async for page in read_pages(connection, columns) for row in page
            }
        changed = sorted(
            (item for item in definitions if published.get(item.job_id) != item.content_hash),
            key=lambda item: item.job_id,  # replicas that start together write in one order
        )
        statement = upsert(self._database, job_definition, update=_NAMES[1:])
        for start in range(0, len(changed), _CHUNK):
            rows = [
                {name: getattr(item, name) for name in _NAMES} for item in changed[start : start + _CHUNK]
            ]
            async with self._database.transaction() as connection:
                await connection.execute(statement, rows)
        return len(changed)
