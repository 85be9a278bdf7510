"""Index `dead_letter` by job."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import JOB_ID, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_62"
down_revision = "0.1.0_61"


def upgrade(steps: Steps) -> None:
    table = Table("dead_letter", MetaData(), Column("job_id", JOB_ID), Column("letter_id", KEY))
    steps.create_index(Index("ix_dead_letter_job", table.c.job_id, table.c.letter_id))
