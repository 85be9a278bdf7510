"""Index `scheduled_job` by `updated_at` and `version`, over which replicas sum up the table."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, MetaData, Table

from piko.store.schema.column_types import STAMP
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_44"
down_revision = "0.1.0_43"


def upgrade(steps: Steps) -> None:
    table = Table("scheduled_job", MetaData(), Column("updated_at", STAMP), Column("version", BigInteger))
    steps.create_index(Index("ix_scheduled_job_updated", table.c.updated_at, table.c.version))
