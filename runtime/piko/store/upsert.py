"""Insert-or-update in each database's own words."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Table
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.sql.dml import Insert

from piko.store.engine import Database


def upsert(database: Database, table: Table, *, update: Sequence[str]) -> Insert:
    """`INSERT` into `table` that sets the columns `update` where the primary key is there already.

    Without columns to update an existing row stays as it is. Bind rows by `execute(statement, rows)`: the
    statement holds placeholders only, which keeps the driver's multi-row insert.
    """
    key = [column.name for column in table.primary_key]
    if database.is_sqlite:
        insert = sqlite.insert(table)
        if not update:
            return insert.on_conflict_do_nothing(index_elements=key)
        return insert.on_conflict_do_update(
            index_elements=key, set_={name: insert.excluded[name] for name in update}
        )
    statement = mysql.insert(table)
    # INSERT IGNORE would also swallow broken constraints; assigning a key to itself changes nothing.
    columns = update or key[:1]
    return statement.on_duplicate_key_update({name: statement.inserted[name] for name in columns})
