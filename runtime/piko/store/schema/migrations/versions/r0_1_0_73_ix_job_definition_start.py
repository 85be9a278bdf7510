"""Index `job_definition` by what the code promises of starts and ends."""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, MetaData, Table

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_73"
down_revision = "0.1.0_72"


def upgrade(steps: Steps) -> None:
    table = Table(
        "job_definition",
        MetaData(),
        Column("start_within_s", Double),
        Column("finish_within_s", Double),
    )
    steps.create_index(Index("ix_job_definition_start", *table.c))
