"""The table in which the revision of a database is kept."""

from __future__ import annotations

from sqlalchemy import Column, Connection, MetaData, String, Table

VERSION_TABLE = "piko_schema_version"
"""Not Alembic's usual name, which an application may use in the same database."""

version_table = Table(
    VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True), mysql_engine="InnoDB"
)


def create_version_table(connection: Connection) -> None:
    """Create the table that Alembic keeps its place in.

    Alembic would do so itself, with a name for the primary key that MySQL warns about.
    """
    version_table.create(connection, checkfirst=True)
