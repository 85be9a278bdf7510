"""Index `job_state` by failures in a row, and by `last_state`."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, MetaData, String, Table

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_69"
down_revision = "0.1.0_68"


def upgrade(steps: Steps) -> None:
    table = Table(
        "job_state",
        MetaData(),
        Column("consecutive_failures", Integer),
        Column("last_state", String(16)),
    )
    steps.create_index(Index("ix_job_state_failures", *table.c))
