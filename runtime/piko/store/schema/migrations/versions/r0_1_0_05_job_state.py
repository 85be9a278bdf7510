"""Create `job_state`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Double, Integer, MetaData, String, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, LONG_TEXT, STAMP, NowOnWrite
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_05"
down_revision = "0.1.0_04"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "job_state",
            MetaData(),
            Column("job_id", JOB_ID, primary_key=True, comment="the job"),
            Column(
                "status",
                String(16),
                nullable=False,
                comment="Scheduled, Disabled, Completed, Invalid, Unregistered or WaitingForConfig",
            ),
            Column("message", LONG_TEXT, comment="why status is what it is, for a person"),
            Column("schedule_hash", KEY, comment="the schedule that the cursor belongs to"),
            Column("observed_version", BigInteger, comment="scheduled_job.version that status belongs to"),
            Column("cursor_at", INSTANT, comment="due times up to here have been handled"),
            Column("next_run_at", INSTANT, comment="when it is due next"),
            Column("last_run_id", KEY, comment="the run that ended last"),
            Column("last_state", String(16), comment="its outcome"),
            Column("last_scheduled_time", INSTANT, comment="its due time"),
            Column("last_started_at", INSTANT, comment="when its handler was called"),
            Column("last_duration_s", Double, comment="how long its handler ran"),
            Column("last_error", LONG_TEXT, comment="its error"),
            Column("last_success_at", INSTANT, comment="when a run last succeeded"),
            Column(
                "consecutive_failures",
                Integer,
                nullable=False,
                server_default=text("0"),
                comment="runs since then that did not succeed",
            ),
            Column(
                "epoch",
                BigInteger,
                nullable=False,
                server_default=text("0"),
                comment="leadership that wrote it",
            ),
            Column(
                "updated_at",
                STAMP,
                nullable=False,
                server_default=NowOnWrite(),
                comment="when the row was last edited",
            ),
            CheckConstraint(
                "status IN ('Scheduled', 'Disabled', 'Completed', 'Invalid', 'Unregistered', "
                "'WaitingForConfig')",
                name="job_status_is_known",
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
