"""Index `job_run` by `backfill_id`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_23"
down_revision = "0.1.0_22"


def upgrade(steps: Steps) -> None:
    table = Table("job_run", MetaData(), Column("backfill_id", KEY), Column("scheduled_time", INSTANT))
    steps.create_index(Index("ix_job_run_backfill", table.c.backfill_id, table.c.scheduled_time))
