"""The steps that revisions are made of; each looks first, and leaves alone what is there already."""

from __future__ import annotations

from alembic import op
from sqlalchemy import DDL, Index, Table, inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable

VERSION_TABLE = "piko_schema_version"
"""Where the revision is kept; not Alembic's usual name, which an application may use in the same database."""


def create_table(table: Table) -> None:
    """Create `table`, without its indexes."""
    if _offline() or not inspect(op.get_bind()).has_table(table.name):
        op.execute(CreateTable(table))


def create_index(index: Index) -> None:
    """Create `index` on its table."""
    assert index.table is not None
    if not _offline():
        present = {item["name"] for item in inspect(op.get_bind()).get_indexes(index.table.name)}
        if index.name in present:
            return
    op.execute(CreateIndex(index))


def create_sqlite_trigger(name: str, statement: str) -> None:
    """Create a trigger on SQLite; elsewhere nothing, the column types do there what triggers do here."""
    if op.get_context().dialect.name != "sqlite":
        return
    if not _offline():
        question = text("SELECT count(*) FROM sqlite_master WHERE type = 'trigger' AND name = :name")
        if op.get_bind().execute(question, {"name": name}).scalar_one():
            return
    op.execute(DDL(statement.replace("%", "%%")))


def _offline() -> bool:
    return op.get_context().as_sql
