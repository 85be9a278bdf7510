"""A user's table that results are written into.

The table often shows the cause of a failure: a missing column, or a value that it does not accept. Such a row
can never be written, so the error is a `PayloadError`; errors that may resolve themselves are of another
type.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import MetaData, Table, exc

from piko.errors import DatabaseUnavailableError, PayloadError, SchemaVersionError, did_you_mean
from piko.store.engine import open_database
from piko.store.upsert import upsert
from piko.text import error_text, listed

# No value where one is needed; out of range, cut off, malformed, too long; a check; a second unique key. Not
# among them is a foreign key (1452): the row that it names may be on its way.
_ROW_CODES = frozenset(
    {1048, 1062, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1690, 3140, 3141, 3819, 4025}
)
_ROW_WORDS = (
    "NOT NULL constraint",
    "CHECK constraint",
    "UNIQUE constraint",
    "datatype mismatch",
    "binding param",
)


class TargetTable:
    """Upserts rows into `table`; its columns and primary key are read from the database."""

    def __init__(self, *, dsn: str, table: str) -> None:
        self._database = open_database(dsn, pool_size=4)
        self._name = table
        self._table: Table | None = None
        self._reading = asyncio.Lock()

    async def upsert(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert `rows`, or update where the primary key is there; of two with one key the last counts.

        Raises `PayloadError` where a row can never be written, and `DatabaseUnavailableError`, also for a
        table that is not there.
        """
        table = await self._reflected()
        if self._misfit(table, rows) is not None:  # the table may have changed since it was read
            self._table = None
            table = await self._reflected()
        if (misfit := self._misfit(table, rows)) is not None:
            raise PayloadError(misfit)
        key = [column.name for column in table.primary_key]
        groups: dict[tuple[str, ...], dict[tuple[Any, ...], dict[str, Any]]] = {}
        for row in rows:
            columns = tuple(sorted(row))
            groups.setdefault(columns, {})[tuple(_hashable(row[name]) for name in key)] = dict(row)
        try:
            with _rows_that_do_not_fit(self._name):
                await self._write(table, key, groups)
        except SchemaVersionError as error:
            self._table = None
            raise DatabaseUnavailableError(
                f"database {self._database.where}: table {self._name} has changed: {error.__cause__}"
            ) from error

    def _misfit(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> str | None:
        """How the first row that does not fit differs from the table."""
        names, key = table.columns.keys(), [column.name for column in table.primary_key]
        known = f"the table has the columns {', '.join(names)} and the primary key {', '.join(key)}"
        for row in rows:
            if unknown := sorted(map(str, row.keys() - set(names))):
                meant = did_you_mean(unknown[0], names)
                return f"table {self._name} has no column {listed(unknown)}{meant}; {known}"
            if missing := [name for name in key if name not in row]:
                return f"table {self._name}: a row lacks {', '.join(missing)}; {known}"
        return None

    async def _write(
        self,
        table: Table,
        key: Sequence[str],
        groups: Mapping[tuple[str, ...], Mapping[tuple[Any, ...], dict[str, Any]]],
    ) -> None:
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
                        raise DatabaseUnavailableError(
                            f"database {self._database.where} has no table {self._name!r}; create it first"
                        ) from None
            return self._table


@contextmanager
def _rows_that_do_not_fit(table: str) -> Iterator[None]:
    """What the database refuses of a row, and what the driver cannot send, as `PayloadError`."""
    try:
        yield
    except exc.DBAPIError as error:
        code = error.orig.args[0] if error.orig is not None and error.orig.args else None
        if code in _ROW_CODES or any(word in str(error.orig) for word in _ROW_WORDS):
            raise PayloadError(f"table {table}: {error.orig}") from error
        raise
    except exc.StatementError as error:
        raise PayloadError(f"table {table}: {error.orig}") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise PayloadError(f"table {table}: {error_text(error)}") from error


def _hashable(value: Any) -> Any:
    """A key of any kind; one that is a list or an object is refused by the database."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value
