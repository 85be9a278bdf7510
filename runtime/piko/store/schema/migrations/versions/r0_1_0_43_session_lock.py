"""Create `session_lock`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Table

from piko.store.schema.column_types import INSTANT, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_43"
down_revision = "0.1.0_42"


def upgrade(steps: Steps) -> None:
    server = "identity of the database server on which it is held"
    session = "CONNECTION_ID() of the session that holds it"
    steps.create_table(
        Table(
            "session_lock",
            MetaData(),
            Column("instance_id", KEY, primary_key=True, comment="runtime_instance that holds it"),
            Column("lock_name", KEY, nullable=False, comment="new for each session"),
            Column("server", KEY, nullable=False, comment=server),
            Column("session_id", BigInteger, nullable=False, comment=session),
            Column("taken_at", INSTANT, nullable=False, comment="by the database's clock"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
