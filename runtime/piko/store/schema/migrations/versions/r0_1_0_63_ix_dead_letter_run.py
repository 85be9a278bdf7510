"""Index `dead_letter` by run."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_63"
down_revision = "0.1.0_62"


def upgrade(steps: Steps) -> None:
    table = Table("dead_letter", MetaData(), Column("run_id", KEY), Column("letter_id", KEY))
    steps.create_index(Index("ix_dead_letter_run", table.c.run_id, table.c.letter_id))
