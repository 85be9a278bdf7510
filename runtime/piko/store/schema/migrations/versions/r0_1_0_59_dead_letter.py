"""Create `dead_letter`."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, LONG_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_59"
down_revision = "0.1.0_58"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "dead_letter",
            MetaData(),
            Column(
                "letter_id",
                KEY,
                primary_key=True,
                comment="one record that a sink refused; ids grow with time",
            ),
            Column("instance_id", KEY, nullable=False, comment="runtime_instance whose spool has it"),
            Column("sink", String(255), nullable=False, comment="the sink that refused it"),
            Column(
                "job_id",
                JOB_ID,
                nullable=False,
                comment="the job that wrote it; ?: its intent cannot be read",
            ),
            Column("run_id", KEY, nullable=False, comment="the run that wrote it"),
            Column("record_key", String(255), nullable=False, comment="key of the write intent"),
            Column("error", LONG_TEXT, nullable=False, comment="what the sink said, in an excerpt"),
            Column("died_at", INSTANT, nullable=False, comment="when it was refused"),
            Column("asked", String(16), comment="replay or drop: its replica does so at its next look"),
            Column("asked_by", String(255), comment="who asked"),
            Column("asked_at", INSTANT, comment="when"),
            Column("answer", LONG_TEXT, comment="why the replica could not do what was asked last"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
