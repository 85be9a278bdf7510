"""Create `change_log`."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_37"
down_revision = "0.1.0_36"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "change_log",
            MetaData(),
            Column("change_id", KEY, primary_key=True, comment="one change; ids grow with time"),
            Column("at", INSTANT, nullable=False, comment="when it was made"),
            Column("who", String(255), nullable=False, comment="who made it, as far as is known"),
            Column(
                "via",
                String(16),
                nullable=False,
                comment="by which way: api, page, cli, resource, sql or leader",
            ),
            Column("what", String(32), nullable=False, comment="what was done: pause, trigger, cancel, …"),
            Column("job_id", JOB_ID, comment="the job that it concerns"),
            Column("before", JSON_TEXT, comment="what was there, as JSON without secrets"),
            Column("after", JSON_TEXT, comment="what is there since"),
            Column("reason", LONG_TEXT, comment="why, by their own account"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
