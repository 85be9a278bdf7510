"""Requests to run the windows of a range."""

from __future__ import annotations

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    String,
    Table,
    text,
)

from piko.core.types import BackfillState
from piko.model.columns import MAX_INTEGER
from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT, TRACEPARENT
from piko.store.schema.tables.metadata import ON_MYSQL, created_at, metadata

backfill = Table(
    "backfill",
    metadata,
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
        "parallelism", Integer, nullable=False, server_default=text("1"), comment="windows to run in parallel"
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
    created_at(),
    Column(
        "audited_state",
        String(16),
        comment="its state as change_log knows it; it differs from state after an edit by SQL",
    ),
    Column("traceparent", TRACEPARENT, comment="the span in which it was asked for, in a trace"),
    Column(
        "managed_by",
        String(512),
        comment="cluster/namespace/name/uid of the PikoBackfill that asks for it; NULL: none does",
    ),
    checks.one_of("state", BackfillState, "backfill_state_is_known"),
    CheckConstraint("range_start < range_end", name="range_start_is_before_range_end"),
    checks.between("parallelism", 1, MAX_INTEGER, "parallelism_is_positive"),
    **ON_MYSQL,
)
Index("ix_backfill_state", backfill.c.state, backfill.c.created_at)
Index("ix_backfill_audited_state", backfill.c.audited_state, backfill.c.state)
