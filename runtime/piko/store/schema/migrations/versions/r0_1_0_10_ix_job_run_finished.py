"""Index `job_run` by `finished_at`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_10"
down_revision = "0.1.0_09"


def upgrade(steps: Steps) -> None:
    table = Table("job_run", MetaData(), Column("finished_at", INSTANT))
    steps.create_index(Index("ix_job_run_finished", table.c.finished_at))
