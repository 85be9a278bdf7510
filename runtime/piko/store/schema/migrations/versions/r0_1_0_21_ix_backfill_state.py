"""Index `backfill` by `state`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

from piko.store.schema.column_types import STAMP
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_21"
down_revision = "0.1.0_20"


def upgrade(steps: Steps) -> None:
    table = Table("backfill", MetaData(), Column("state", String(16)), Column("created_at", STAMP))
    steps.create_index(Index("ix_backfill_state", table.c.state, table.c.created_at))
