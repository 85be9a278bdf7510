"""Index `dead_letter` by instance."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_60"
down_revision = "0.1.0_59"


def upgrade(steps: Steps) -> None:
    table = Table("dead_letter", MetaData(), Column("instance_id", KEY), Column("letter_id", KEY))
    steps.create_index(Index("ix_dead_letter_instance", table.c.instance_id, table.c.letter_id))
