"""Index `job_run` by `job_id` and `scheduled_time`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT, JOB_ID
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_11"
down_revision = "0.1.0_10"


def upgrade(steps: Steps) -> None:
    table = Table("job_run", MetaData(), Column("job_id", JOB_ID), Column("scheduled_time", INSTANT))
    steps.create_index(Index("ix_job_run_job_time", table.c.job_id, table.c.scheduled_time))
