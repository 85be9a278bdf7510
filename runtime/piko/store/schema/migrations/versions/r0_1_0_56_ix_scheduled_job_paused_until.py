"""Index `scheduled_job` by `paused_until`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_56"
down_revision = "0.1.0_55"


def upgrade(steps: Steps) -> None:
    table = Table("scheduled_job", MetaData(), Column("paused_until", INSTANT))
    steps.create_index(Index("ix_scheduled_job_paused_until", table.c.paused_until))
