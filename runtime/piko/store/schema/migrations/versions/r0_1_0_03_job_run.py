"""Create `job_run`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Double, Integer, MetaData, String, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, LONG_TEXT, STAMP, Now
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_03"
down_revision = "0.1.0_02"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "job_run",
            MetaData(),
            Column("run_id", KEY, primary_key=True, comment="one attempt"),
            Column("job_id", JOB_ID, nullable=False, comment="the job"),
            Column("scheduled_time", INSTANT, nullable=False, comment="its due time"),
            Column(
                "attempt",
                Integer,
                nullable=False,
                server_default=text("1"),
                comment="1, 2, … for one due time",
            ),
            Column("state", String(16), nullable=False, comment="QUEUED, RUNNING, or its outcome"),
            Column(
                "trigger_type",
                String(16),
                nullable=False,
                server_default="schedule",
                comment="why it exists: schedule, catch_up, retry, manual or backfill",
            ),
            Column(
                "priority", Integer, nullable=False, server_default=text("0"), comment="as the schedule said"
            ),
            Column("not_before", INSTANT, comment="a queued run does not start earlier"),
            Column("window_start", INSTANT, comment="start of the window of a stateful job"),
            Column("window_end", INSTANT, comment="end of that window, exclusive"),
            Column(
                "missed_through", INSTANT, comment="MISSED, SKIPPED: last of the due times that it stands for"
            ),
            Column("missed_count", BigInteger, comment="MISSED, SKIPPED: how many due times it stands for"),
            Column("config_revision", BigInteger, comment="job_config_revision that the run used"),
            Column("epoch", BigInteger, comment="leadership under which it was claimed"),
            Column("instance_id", KEY, comment="runtime_instance that runs it"),
            Column("claimed_at", INSTANT, comment="when a leader claimed it"),
            Column(
                "started_at", INSTANT, comment="when the handler was called; claimed ahead: when it is to be"
            ),
            Column("finished_at", INSTANT, comment="when it ended"),
            Column("duration_s", Double, comment="how long the handler ran"),
            Column("error_type", String(255), comment="class of the exception"),
            Column("error", LONG_TEXT, comment="message and bounded traceback"),
            Column(
                "created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was created"
            ),
            CheckConstraint("attempt BETWEEN 1 AND 2147483647", name="attempt_is_positive"),
            CheckConstraint(
                (
                    "state IN ('QUEUED', 'RUNNING', 'SUCCESS', 'FAILED', 'TIMEOUT', 'CANCELLED', "
                    "'LOST', 'SKIPPED', 'MISSED')"
                ),
                name="run_state_is_known",
            ),
            CheckConstraint(
                "trigger_type IN ('schedule', 'catch_up', 'retry', 'manual', 'backfill')",
                name="trigger_type_is_known",
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
