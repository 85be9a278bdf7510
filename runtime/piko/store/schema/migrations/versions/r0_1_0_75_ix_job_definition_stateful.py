"""Index `job_definition` by `stateful`."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, MetaData, Table

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_75"
down_revision = "0.1.0_74"


def upgrade(steps: Steps) -> None:
    table = Table("job_definition", MetaData(), Column("stateful", Boolean))
    steps.create_index(Index("ix_job_definition_stateful", table.c.stateful))
