"""Where a database's tables differ from `tables`, in sentences.

Only what is missing or different counts. What somebody added, an index or a column with a default, is
theirs; a column that must be filled is a difference, because Piko's inserts would fail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Column, Connection, Index, Inspector, Table, inspect, text

from piko.store.schema.dialects import checks_on, sqlite_triggers
from piko.store.schema.tables import metadata


def differences(connection: Connection) -> tuple[str, ...]:
    """Each difference as a sentence; empty where there is none."""
    context = MigrationContext.configure(
        connection, opts={"include_name": _is_ours, "compare_server_default": False}
    )
    found = [sentence for item in _flat(compare_metadata(context, metadata)) for sentence in _sentence(item)]
    inspector = inspect(connection)
    present = set(inspector.get_table_names())
    for table in metadata.sorted_tables:
        if table.name in present:
            found.extend(_missing_checks(connection, inspector, table))
    if connection.dialect.name == "sqlite":
        found.extend(_missing_triggers(connection))
    return tuple(found)


def _is_ours(name: str | None, kind: str, _parents: object) -> bool:
    # CHECK constraints are compared below, by the dialect that they are meant for.
    return name in metadata.tables if kind == "table" else kind != "check_constraint"


def _flat(items: Iterable[Any]) -> Iterator[tuple[Any, ...]]:
    for item in items:
        if isinstance(item, list):
            yield from _flat(item)
        else:
            yield item


def _sentence(item: tuple[Any, ...]) -> Iterator[str]:
    match item:
        case ("add_table", Table(name=table)):
            yield f"table {table} is missing"
        case ("add_column", _, table, Column(name=column)):
            yield f"column {table}.{column} is missing"
        case ("remove_column", _, table, Column() as column):
            if not column.nullable and column.server_default is None:
                yield f"column {table}.{column.name} is not Piko's and must be filled: give it a default"
        case ("add_index", Index() as index):
            yield f"index {index.name} of {index.table.name if index.table is not None else '?'} is missing"
        case ("modify_type", _, table, column, _, present, expected):
            yield f"column {table}.{column} has type {present}, expected {expected}"
        case ("modify_nullable", _, table, column, _, present, _):
            now, then = ("nullable", "NOT NULL") if present else ("NOT NULL", "nullable")
            yield f"column {table}.{column} is {now}, expected {then}"
        case (("remove_index" | "modify_comment" | "add_constraint" | "remove_constraint"), *_):
            pass
        case (kind, *rest):
            yield f"{kind} {' '.join(str(part) for part in rest)}"


def _missing_checks(connection: Connection, inspector: Inspector, table: Table) -> Iterator[str]:
    present = {item["name"] for item in inspector.get_check_constraints(table.name)}
    for check in checks_on(table, connection.dialect.name):
        if check.name not in present:
            yield f"constraint {check.name} of {table.name} is missing"


def _missing_triggers(connection: Connection) -> Iterator[str]:
    rows = connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'"))
    present = set(rows.scalars())
    for table in metadata.sorted_tables:
        for name in sqlite_triggers(table):
            if name not in present:
                yield f"trigger {name} of {table.name} is missing"
