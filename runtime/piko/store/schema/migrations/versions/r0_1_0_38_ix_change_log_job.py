"""Index `change_log` by job."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import JOB_ID, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_38"
down_revision = "0.1.0_37"


def upgrade(steps: Steps) -> None:
    table = Table("change_log", MetaData(), Column("job_id", JOB_ID), Column("change_id", KEY))
    steps.create_index(Index("ix_change_log_job", table.c.job_id, table.c.change_id))
