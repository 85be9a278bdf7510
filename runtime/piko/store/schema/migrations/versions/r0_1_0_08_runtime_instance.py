"""Create `runtime_instance`."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_08"
down_revision = "0.1.0_07"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "runtime_instance",
            MetaData(),
            Column("instance_id", KEY, primary_key=True, comment="one start of a replica"),
            Column("app", String(255), nullable=False, comment="name of its application"),
            Column("host", String(255), nullable=False, comment="its host or pod"),
            Column("pid", Integer, nullable=False, comment="its process there"),
            Column("version", String(64), nullable=False, comment="its release of Piko"),
            Column("started_at", INSTANT, nullable=False, comment="when it started"),
            Column("heartbeat_at", INSTANT, nullable=False, comment="by the database's clock"),
            Column("stopped_at", INSTANT, comment="set by a clean stop"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
