"""The steps that revisions are made of; each looks first, and leaves alone what is there already."""

from __future__ import annotations

from typing import Any

from alembic.migration import MigrationContext
from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Table,
    inspect,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateIndex, CreateTable, DDLElement, DropIndex, ExecutableDDLElement
from sqlalchemy.sql.compiler import DDLCompiler

from piko.store.schema.dialects import checks_on


class Steps:
    """What a revision does to the database, or writes as SQL text where there is none."""

    def __init__(self, context: MigrationContext) -> None:
        self._context = context
        self._changed = False

    def take_changed(self) -> bool:
        """Whether a step has changed anything since this was asked last; False: all was there already."""
        changed, self._changed = self._changed, False
        return changed

    def create_table(self, table: Table) -> None:
        """Create `table`, without its indexes."""
        connection = self._connection
        if connection is None or not inspect(connection).has_table(table.name):
            self._execute(CreateTable(table))

    def add_column(self, table: str, column: Column[Any], *checks: CheckConstraint) -> None:
        """Add `column` to `table`; it is nullable or has a default, for the rows that are there.

        `checks` are added in the same statement, those for the database that it is.
        """
        connection = self._connection
        if connection is not None:
            present = {item["name"] for item in inspect(connection).get_columns(table)}
            if column.name in present:
                return
        Table(table, MetaData(), column, *checks)
        self._execute(_AddColumn(column))

    def create_index(self, index: Index) -> None:
        """Create `index` on its table."""
        assert index.table is not None
        connection = self._connection
        if connection is not None:
            present = {item["name"] for item in inspect(connection).get_indexes(index.table.name)}
            if index.name in present:
                return
        self._execute(CreateIndex(index))

    def drop_index(self, name: str, *, table: str) -> None:
        """Drop the index `name` of `table`, which no release needs any more."""
        connection = self._connection
        if connection is not None:
            present = {item["name"] for item in inspect(connection).get_indexes(table)}
            if name not in present:
                return
        column = Table(table, MetaData(), Column("any", Integer)).c["any"]
        self._execute(DropIndex(Index(name, column)))

    def create_sqlite_trigger(self, name: str, statement: str) -> None:
        """Create a trigger, on SQLite only: on the other databases the column types do the same."""
        if self._context.dialect.name != "sqlite":
            return
        connection = self._connection
        if connection is not None:
            question = text("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name = :name")
            if connection.execute(question, {"name": name}).scalar_one():
                return
        self._execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]

    def _execute(self, statement: ExecutableDDLElement) -> None:
        self._context.execute(statement)
        self._changed = True

    @property
    def _connection(self) -> Connection | None:
        return None if self._context.as_sql else self._context.connection


class _AddColumn(DDLElement):
    """ALTER TABLE for one column and the constraints of its table, which say nothing of other columns."""

    def __init__(self, column: Column[Any]) -> None:
        self.column = column


@compiles(_AddColumn)
def _add_column(element: _AddColumn, compiler: DDLCompiler, **_: object) -> str:
    # SQLite adds a column with its constraints; the others take a list of changes.
    separator = " " if compiler.dialect.name == "sqlite" else ", ADD "
    table = element.column.table
    parts = [
        compiler.get_column_specification(element.column),
        *(compiler.process(item) for item in checks_on(table, compiler.dialect.name)),
    ]
    return f"ALTER TABLE {compiler.preparer.format_table(table)} ADD COLUMN {separator.join(parts)}"
