"""Index `job_run` by `offered_at`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_26"
down_revision = "0.1.0_25"


def upgrade(steps: Steps) -> None:
    table = Table("job_run", MetaData(), Column("offered_at", INSTANT))
    steps.create_index(Index("ix_job_run_offered", table.c.offered_at))
