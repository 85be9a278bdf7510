"""Index `job_run` by `state` and `scheduled_time`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_40"
down_revision = "0.1.0_39"


def upgrade(steps: Steps) -> None:
    table = Table("job_run", MetaData(), Column("state", String(16)), Column("scheduled_time", INSTANT))
    steps.create_index(Index("ix_job_run_state_time", table.c.state, table.c.scheduled_time))
