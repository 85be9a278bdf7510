"""Index `job_run` by `scheduled_time`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_39"
down_revision = "0.1.0_38"


def upgrade(steps: Steps) -> None:
    table = Table("job_run", MetaData(), Column("scheduled_time", INSTANT), Column("run_id", KEY))
    steps.create_index(Index("ix_job_run_time", table.c.scheduled_time, table.c.run_id))
