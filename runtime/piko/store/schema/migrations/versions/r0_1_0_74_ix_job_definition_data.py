"""Index `job_definition` by what the code promises of data."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, MetaData, Table

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_74"
down_revision = "0.1.0_73"


def upgrade(steps: Steps) -> None:
    table = Table("job_definition", MetaData(), Column("data_within_s", Double))
    steps.create_index(Index("ix_job_definition_data", table.c.data_within_s))
