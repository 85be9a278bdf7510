"""Create `leader_lease`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_09"
down_revision = "0.1.0_08"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "leader_lease",
            MetaData(),
            Column("name", String(255), primary_key=True, comment="the setting `leader_name`"),
            Column("epoch", BigInteger, nullable=False, comment="grows by one with each change of leader"),
            Column("holder", KEY, comment="runtime_instance; NULL: released"),
            Column("holder_host", String(255), comment="its host or pod"),
            Column("acquired_at", INSTANT, comment="when this leadership began"),
            Column("renewed_at", INSTANT, comment="when it was last renewed"),
            Column("expires_at", INSTANT, comment="by the database's clock"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
