"""Create `orphaned_row`."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_34"
down_revision = "0.1.0_33"


def upgrade(steps: Steps) -> None:
    owner = "the resource that vanished"
    steps.create_table(
        Table(
            "orphaned_row",
            MetaData(),
            Column("table_name", KEY, primary_key=True, comment="scheduled_job or job_config"),
            Column("job_id", JOB_ID, primary_key=True, comment="the job"),
            Column("managed_by", String(512), nullable=False, comment=owner),
            Column("found_at", INSTANT, nullable=False, comment="since when; the row is removed a day later"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
