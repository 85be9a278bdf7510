"""Create `backfill`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Integer, MetaData, String, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT, STAMP, Now
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_20"
down_revision = "0.1.0_19"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "backfill",
            MetaData(),
            Column("backfill_id", KEY, primary_key=True, comment="one request"),
            Column("job_id", JOB_ID, nullable=False, comment="the job, a stateful one"),
            Column("state", String(16), nullable=False, comment="ACTIVE, PAUSED, or how it ended"),
            Column("range_start", INSTANT, nullable=False, comment="start of its first window"),
            Column("range_end", INSTANT, nullable=False, comment="end of its last window, exclusive"),
            Column(
                "schedule_type",
                String(16),
                nullable=False,
                comment="as the row had it when the backfill was requested",
            ),
            Column("schedule_expr", JSON_TEXT, nullable=False, comment="the same; it cuts the windows"),
            Column("timezone", String(64), nullable=False, comment="the same, or the setting `timezone`"),
            Column(
                "parallelism",
                Integer,
                nullable=False,
                server_default=text("1"),
                comment="windows to run in parallel",
            ),
            Column("next_start", INSTANT, nullable=False, comment="windows before it have been claimed"),
            Column("windows_total", Integer, nullable=False, comment="windows in the range"),
            Column(
                "windows_succeeded",
                Integer,
                nullable=False,
                server_default=text("0"),
                comment="windows that succeeded",
            ),
            Column(
                "windows_failed",
                Integer,
                nullable=False,
                server_default=text("0"),
                comment="windows that ended otherwise, with no attempt left",
            ),
            Column("message", LONG_TEXT, comment="why none of its windows runs at present, for a person"),
            Column("requested_by", String(255), comment="who asked for it, by their own account"),
            Column("finished_at", INSTANT, comment="when the last window ended, or it was cancelled"),
            Column(
                "created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was created"
            ),
            CheckConstraint(
                "state IN ('ACTIVE', 'PAUSED', 'CANCELLED', 'SUCCEEDED', 'FAILED')",
                name="backfill_state_is_known",
            ),
            CheckConstraint("range_start < range_end", name="range_start_is_before_range_end"),
            CheckConstraint("parallelism BETWEEN 1 AND 2147483647", name="parallelism_is_positive"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
