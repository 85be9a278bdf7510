"""A table of the user's, which results are written into."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import MetaData, Table, exc

from piko.errors import PayloadError
from piko.store.engine import open_database
from piko.store.upsert import upsert


class TargetTable:
    """Upserts rows into `table`; its columns and primary key are read from the database at the first use."""

    def __init__(self, *, dsn: str, table: str) -> None:
        self._database = open_database(dsn, pool_size=4)
        self._name = table
        self._table: Table | None = None
        self._reading = asyncio.Lock()

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert `rows`, or update where the primary key is there; of two with one key the last counts.

        Raises `PayloadError` for columns that the table does not have, `DatabaseUnavailableError`.
        """
        table = await self._reflected()
        groups: dict[tuple[str, ...], dict[tuple[Any, ...], dict[str, Any]]] = {}
        key = [column.name for column in table.primary_key]
        for row in rows:
            unknown = row.keys() - table.columns.keys()
            if unknown or not all(name in row for name in key):
                raise PayloadError(
                    f"table {self._name}: a row has {', '.join(sorted(row))}; the table has the columns "
                    f"{', '.join(table.columns.keys())} and the primary key {', '.join(key)}"
                )
            columns = tuple(sorted(row))
            groups.setdefault(columns, {})[tuple(row[name] for name in key)] = dict(row)
        async with self._database.transaction() as connection:
            for columns, distinct in groups.items():
                update = [name for name in columns if name not in key]
                await connection.execute(
                    upsert(self._database, table, update=update), list(distinct.values())
                )

    async def close(self) -> None:
        await self._database.close()

    async def _reflected(self) -> Table:
        async with self._reading:
            if self._table is None:
                async with self._database.statements() as connection:
                    try:
                        self._table = await connection.run_sync(
                            lambda sync: Table(self._name, MetaData(), autoload_with=sync)
                        )
                    except exc.NoSuchTableError:
                        raise PayloadError(
                            f"database {self._database.where} has no table {self._name!r}; create it first"
                        ) from None
            return self._table
