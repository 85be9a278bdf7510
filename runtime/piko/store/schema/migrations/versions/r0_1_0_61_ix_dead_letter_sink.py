"""Index `dead_letter` by sink."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

from piko.store.schema.column_types import KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_61"
down_revision = "0.1.0_60"


def upgrade(steps: Steps) -> None:
    table = Table("dead_letter", MetaData(), Column("sink", String(255)), Column("letter_id", KEY))
    steps.create_index(Index("ix_dead_letter_sink", table.c.sink, table.c.letter_id))
