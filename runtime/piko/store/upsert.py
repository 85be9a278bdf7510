"""Rows written many at a time, in each database's own words.

Statements hold placeholders only: so the driver sends all rows at once, to MariaDB by its bulk protocol. That
one takes no column that is NULL in every row; such a column is left out, and is NULL all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Dialect, Table, insert
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.dml import Insert
from sqlalchemy.types import TypeEngine

from piko.store.engine import Database
from piko.store.schema.column_types import MYSQL_FAMILY, Instant

_IN_ONE_PACKET = 500
"""Rows; each may hold an error of 8 kB, and MariaDB takes packets of 16 MB."""

Row = Mapping[str, object]
_BindColumn = Callable[[list[Any]], list[Any]]
Merge = Callable[[Any], Mapping[str, ColumnElement[Any]]]
"""From the columns of the row that would have been inserted, what the one that is there gets."""


def upsert(database: Database, table: Table, *, update: Sequence[str], merge: Merge | None = None) -> Insert:
    """`INSERT` into `table` that sets the columns `update` where the primary key is there already.

    Without columns to update an existing row stays as it is. `merge` says what columns get that depend on
    both rows. Bind rows by `execute(statement, rows)`.
    """
    return _upsert(table, tuple(update), merge, is_sqlite=database.is_sqlite)


@lru_cache(maxsize=256)
def _upsert(table: Table, update: tuple[str, ...], merge: Merge | None, *, is_sqlite: bool) -> Insert:
    key = [column.name for column in table.primary_key]
    if is_sqlite:
        insertion = sqlite.insert(table)
        if not update and merge is None:
            return insertion.on_conflict_do_nothing(index_elements=key)
        new = {name: insertion.excluded[name] for name in update}
        merged = {} if merge is None else merge(insertion.excluded)
        return insertion.on_conflict_do_update(index_elements=key, set_={**new, **merged})
    statement = mysql.insert(table)
    # INSERT IGNORE would also swallow broken constraints; assigning a key to itself changes nothing.
    columns = update if update or merge else key[:1]
    new = {name: statement.inserted[name] for name in columns}
    merged = {} if merge is None else merge(statement.inserted)
    return statement.on_duplicate_key_update({**new, **merged})


async def insert_rows(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert `rows`, of one shape. Raises `sqlalchemy.exc.IntegrityError` where a key is there already."""
    await _execute(connection, _insert(table), rows)


async def write_rows(
    connection: AsyncConnection,
    database: Database,
    table: Table,
    rows: Sequence[Row],
    *,
    update: Sequence[str] = (),
    merge: Merge | None = None,
) -> None:
    """Insert `rows`, of one shape; where its key is there already, do with a row what `upsert` says."""
    await _execute(connection, upsert(database, table, update=update, merge=merge), rows)


async def _execute(connection: AsyncConnection, statement: Insert, rows: Sequence[Row]) -> None:
    """As `connection.execute(statement, rows)`, with a fifth of its time for each row."""
    if not rows:
        return
    names, dialect = tuple(rows[0]), connection.dialect
    if getattr(dialect, "is_mariadb", False):
        names = tuple(name for name in names if any(row[name] is not None for row in rows))
    prepared = _prepare(statement, names, dialect)
    for start in range(0, len(rows), _IN_ONE_PACKET):
        bound = prepared.bound(rows[start : start + _IN_ONE_PACKET])
        await connection.exec_driver_sql(prepared.sql, bound)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A statement as the driver takes it, and how the values of each column are handed over."""

    sql: str
    columns: Sequence[tuple[str, _BindColumn | None]]

    def bound(self, rows: Sequence[Row]) -> list[tuple[object, ...]]:
        values = []
        for name, bind in self.columns:
            column = [row[name] for row in rows]
            values.append(column if bind is None else bind(column))
        return list(zip(*values, strict=True))


@lru_cache(maxsize=256)
def _prepare(statement: Insert, names: tuple[str, ...], dialect: Dialect) -> _Prepared:
    compiled: Any = statement.compile(dialect=dialect, column_keys=names)
    columns = statement.table.c
    binds = [(name, _bind_of(columns[name].type, dialect)) for name in compiled.positiontup]
    return _Prepared(str(compiled), binds)


def _bind_of(kind: TypeEngine[Any], dialect: Dialect) -> _BindColumn | None:
    """How the values of a column are handed over; None: as they are."""
    bind = kind.dialect_impl(dialect).bind_processor(dialect)
    if bind is None:
        return None
    if isinstance(kind, Instant) and dialect.name in MYSQL_FAMILY:

        def instants(values: list[Any]) -> list[Any]:
            if all(value is None or value.tzinfo is UTC for value in values):
                return values  # the driver takes them as they are, see `Instant`
            return [bind(value) for value in values]

        return instants
    return lambda values: [bind(value) for value in values]


@lru_cache(maxsize=64)
def _insert(table: Table) -> Insert:
    return insert(table)
