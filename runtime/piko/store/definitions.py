"""`job_definition`: what the code of the running replicas declares, for others to read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import select

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


class DefinitionStore:
    """The published definitions."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def publish(self, definitions: Sequence[DefinitionRow]) -> int:
        """Write the definitions that differ from what is published; how many did."""
        if not definitions:
            return 0
        columns = (job_definition.c.job_id, job_definition.c.content_hash)
        async with self._database.transaction() as connection:
            rows = await connection.execute(select(*columns))
            published = {job_id: digest for job_id, digest in rows}  # noqa: C416 - a row is no pair to the type checker
            changed = sorted(
                (item for item in definitions if published.get(item.job_id) != item.content_hash),
                key=lambda item: item.job_id,  # replicas that start together write in one order
            )
            if changed:
                update = [name for name in DefinitionRow.__dataclass_fields__ if name != "job_id"]
                await connection.execute(
                    upsert(self._database, job_definition, update=update), [asdict(item) for item in changed]
                )
        return len(changed)
