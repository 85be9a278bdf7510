"""Create `data_deadline`."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, Table

from piko.store.schema.column_types import INSTANT, JOB_ID
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_79"
down_revision = "0.1.0_78"


def upgrade(steps: Steps) -> None:
    comment = "its data is late from then on, unless it has come further; in the year 9999: never"
    steps.create_table(
        Table(
            "data_deadline",
            MetaData(),
            Column("job_id", JOB_ID, primary_key=True, comment="the job"),
            Column("late_at", INSTANT, nullable=False, comment=comment),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
