"""Index `job_state` by how the last error begins."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import LONG_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_71"
down_revision = "0.1.0_70"


def upgrade(steps: Steps) -> None:
    table = Table("job_state", MetaData(), Column("last_error", LONG_TEXT))
    steps.create_index(Index("ix_job_state_error", table.c.last_error, mysql_length=20, mariadb_length=20))
