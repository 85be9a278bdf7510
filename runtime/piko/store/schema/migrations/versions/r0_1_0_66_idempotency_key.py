"""Create `idempotency_key`."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, KEY, LONG_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_66"
down_revision = "0.1.0_65"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "idempotency_key",
            MetaData(),
            Column("key_hash", KEY, primary_key=True, comment="hash of the caller and their key"),
            Column("fingerprint", KEY, nullable=False, comment="hash of the request that came with it"),
            Column("token", KEY, nullable=False, comment="who answers it"),
            Column("begun_at", INSTANT, nullable=False, comment="when that began"),
            Column("status", Integer, comment="of the answer; NULL: there is none yet"),
            Column("media_type", String(64), comment="of the answer"),
            Column("answer", LONG_TEXT, comment="its body; NULL: it was too large to keep"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
