"""Index `scheduled_job` by what a row promises, and whether it is enabled."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Index, MetaData, Table

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_72"
down_revision = "0.1.0_71"


def upgrade(steps: Steps) -> None:
    table = Table(
        "scheduled_job",
        MetaData(),
        Column("data_within_s", Double),
        Column("start_within_s", Double),
        Column("finish_within_s", Double),
        Column("enabled", Boolean),
    )
    steps.create_index(Index("ix_scheduled_job_objective", *table.c))
