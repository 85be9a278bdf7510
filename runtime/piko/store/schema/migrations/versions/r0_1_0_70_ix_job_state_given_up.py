"""Index `job_state` by the data that was given up."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_70"
down_revision = "0.1.0_69"


def upgrade(steps: Steps) -> None:
    table = Table("job_state", MetaData(), Column("given_up_to", INSTANT))
    steps.create_index(Index("ix_job_state_given_up", table.c.given_up_to))
