"""The steps that revisions are made of; each looks first, and leaves alone what is there already."""

from __future__ import annotations

from typing import Any

from alembic.migration import MigrationContext
from sqlalchemy import DDL, Column, Connection, Index, Table, inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable


class Steps:
    """What a revision does to the database, or writes as SQL text where there is none."""

    def __init__(self, context: MigrationContext) -> None:
        self._context = context

    def create_table(self, table: Table) -> None:
        """Create `table`, without its indexes."""
        connection = self._connection
        if connection is None or not inspect(connection).has_table(table.name):
            self._context.execute(CreateTable(table))

    def add_column(self, table: str, column: Column[Any]) -> None:
        """Add `column` to `table`; it is nullable or has a default, for the rows that are there."""
        connection = self._connection
        if connection is not None:
            present = {item["name"] for item in inspect(connection).get_columns(table)}
            if column.name in present:
                return
        self._context.impl.add_column(table, column)

    def create_index(self, index: Index) -> None:
        """Create `index` on its table."""
        assert index.table is not None
        connection = self._connection
        if connection is not None:
            present = {item["name"] for item in inspect(connection).get_indexes(index.table.name)}
            if index.name in present:
                return
        self._context.execute(CreateIndex(index))

    def create_sqlite_trigger(self, name: str, statement: str) -> None:
        """Create a trigger on SQLite; elsewhere nothing, the column types do there what triggers do here."""
        if self._context.dialect.name != "sqlite":
            return
        connection = self._connection
        if connection is not None:
            question = text("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name = :name")
            if connection.execute(question, {"name": name}).scalar_one():
                return
        self._context.execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]

    @property
    def _connection(self) -> Connection | None:
        return None if self._context.as_sql else self._context.connection
