"""Index `job_run` by `state` and `not_before`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_12"
down_revision = "0.1.0_11"


def upgrade(steps: Steps) -> None:
    table = Table("job_run", MetaData(), Column("state", String(length=16)), Column("not_before", INSTANT))
    steps.create_index(Index("ix_job_run_state", table.c.state, table.c.not_before))
