"""Index `job_state` by `status` and by when a job is due next."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_68"
down_revision = "0.1.0_67"


def upgrade(steps: Steps) -> None:
    table = Table(
        "job_state",
        MetaData(),
        Column("status", String(16)),
        Column("next_run_at", INSTANT),
    )
    steps.create_index(Index("ix_job_state_next", *table.c))
