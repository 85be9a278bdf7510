"""Create `job_lock`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, MetaData, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, STAMP, Now
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_04"
down_revision = "0.1.0_03"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "job_lock",
            MetaData(),
            Column("job_id", JOB_ID, primary_key=True, comment="the job"),
            Column("scheduled_time", INSTANT, primary_key=True, comment="the due time that is claimed"),
            Column("run_id", KEY, nullable=False, comment="the current run of the due time"),
            Column("claim_token", KEY, nullable=False, comment="the batch of claims that inserted it"),
            Column("epoch", BigInteger, nullable=False, comment="leadership under which it was claimed"),
            Column(
                "created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was created"
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
