"""Rows whose resource vanished, and since when: they are not removed at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, delete, or_, select

from piko.store.engine import Database
from piko.store.schema.tables.operators import orphaned_row
from piko.store.upsert import write_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OrphanedRow:
    """A row of `table_name` whose owner was found to have vanished at `found_at`."""

    table_name: str
    job_id: str
    managed_by: str
    found_at: datetime

    @property
    def key(self) -> tuple[str, str]:
        return self.table_name, self.job_id


_COLUMNS = [orphaned_row.c[name] for name in OrphanedRow.__dataclass_fields__]


class OrphanStore:
    """The operator's memory of them, which outlives its process."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def read(self, cluster: str) -> dict[tuple[str, str], OrphanedRow]:
        """Those of `cluster`, by table and job."""
        owner = orphaned_row.c.managed_by
        statement = select(*_COLUMNS).where(owner.startswith(f"{cluster}/", autoescape=True))
        async with self._database.statements() as connection:
            rows = [OrphanedRow(**row._mapping) for row in await connection.execute(statement)]
        return {row.key: row for row in rows if row.managed_by.startswith(f"{cluster}/")}

    async def note(self, row: OrphanedRow) -> None:
        """Remember `row`; what was known of it before is replaced."""
        values = {name: getattr(row, name) for name in OrphanedRow.__dataclass_fields__}
        async with self._database.transaction() as connection:
            await write_rows(
                connection, self._database, orphaned_row, [values], update=("managed_by", "found_at")
            )

    async def forget(self, keys: Collection[tuple[str, str]]) -> None:
        """Delete the marks of `keys`: the owners are back, or the rows are deleted."""
        columns = orphaned_row.c
        named = [
            and_(columns.table_name == table, columns.job_id == job_id) for table, job_id in sorted(keys)
        ]
        async with self._database.transaction() as connection:
            for start in range(0, len(named), 100):
                await connection.execute(delete(orphaned_row).where(or_(*named[start : start + 100])))
