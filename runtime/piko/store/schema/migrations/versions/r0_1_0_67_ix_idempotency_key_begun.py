"""Index `idempotency_key` by when it began."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_67"
down_revision = "0.1.0_66"


def upgrade(steps: Steps) -> None:
    table = Table("idempotency_key", MetaData(), Column("begun_at", INSTANT))
    steps.create_index(Index("ix_idempotency_key_begun", table.c.begun_at))
