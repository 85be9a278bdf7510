"""The reference part of `docs/reference/tables.md`, from the tables themselves.

`python -m tests.store.reference` writes it anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import CheckConstraint, Column, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.sql.elements import TextClause

from piko.store.schema.column_types import Now, NowOnWrite
from piko.store.schema.tables import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "tables.md"
BEGIN = "<!-- generated: tables -->\n"
END = "<!-- end generated -->\n"


def reference() -> str:
    """Every table: its columns, what it refuses, its indexes."""
    return "\n".join(line for table in TABLES for line in _table(table))


def written() -> str:
    """The reference as the page has it."""
    return PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def write() -> None:
    """Put the reference into the page."""
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}{reference()}{END}{rest.partition(END)[2]}", encoding="utf-8")


def _table(table: Table) -> Iterator[str]:
    yield f"### `{table.name}`\n"
    yield "| column | type | if left out | meaning |"
    yield "|---|---|---|---|"
    for column in table.columns:
        yield f"| {_name(column)} | {_type(column)} | {_default(column)} | {column.comment} |"
    yield ""
    key = ", ".join(f"`{column.name}`" for column in table.primary_key)
    yield f"Primary key: {key}.\n"
    for index in sorted(table.indexes, key=lambda item: str(item.name)):
        yield f"Index `{index.name}`: {', '.join(f'`{column.name}`' for column in index.columns)}.\n"
    names = sorted({str(item.name) for item in table.constraints if isinstance(item, CheckConstraint)})
    if names:
        yield f"Refused unless: {', '.join(f'`{name}`' for name in names)}.\n"


def _name(column: Column[object]) -> str:
    return f"`{column.name}`"


def _type(column: Column[object]) -> str:
    return column.type.compile(dialect=mysql.dialect()).partition(" CHARACTER SET")[0]  # type: ignore[no-untyped-call]


def _default(column: Column[object]) -> str:
    default = getattr(column.server_default, "arg", None)
    if default is None:
        return "NULL" if column.nullable else "must be given"
    if isinstance(default, Now | NowOnWrite):
        return "the time"
    return f"`{default.text}`" if isinstance(default, TextClause) else f"`{default}`"


if __name__ == "__main__":
    write()
