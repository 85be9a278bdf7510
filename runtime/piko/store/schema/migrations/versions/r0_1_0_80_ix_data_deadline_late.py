"""Index `data_deadline` by when data is late."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_80"
down_revision = "0.1.0_79"


def upgrade(steps: Steps) -> None:
    table = Table("data_deadline", MetaData(), Column("late_at", INSTANT))
    steps.create_index(Index("ix_data_deadline_late", table.c.late_at))
