"""Runs, and whose a due time is."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
    text,
)

from piko.core.types import RunState, TriggerType
from piko.model.columns import MAX_INTEGER
from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT, TRACEPARENT
from piko.store.schema.tables.metadata import ON_MYSQL, created_at, metadata

job_run = Table(
    "job_run",
    metadata,
    Column("run_id", KEY, primary_key=True, comment="one attempt"),
    Column("job_id", JOB_ID, nullable=False, comment="the job"),
    Column("scheduled_time", INSTANT, nullable=False, comment="its due time"),
    Column("attempt", Integer, nullable=False, server_default=text("1"), comment="1, 2, … for one due time"),
    Column("state", String(16), nullable=False, comment="QUEUED, RUNNING, or its outcome"),
    Column(
        "trigger_type",
        String(16),
        nullable=False,
        server_default=TriggerType.SCHEDULE.value,
        comment="why it exists: schedule, catch_up, retry, manual or backfill",
    ),
    Column("priority", Integer, nullable=False, server_default=text("0"), comment="as the schedule said"),
    Column("not_before", INSTANT, comment="a queued run does not start earlier"),
    Column("window_start", INSTANT, comment="start of the window of a stateful job"),
    Column("window_end", INSTANT, comment="end of that window, exclusive"),
    Column("missed_through", INSTANT, comment="MISSED, SKIPPED: last of the due times that it stands for"),
    Column("missed_count", BigInteger, comment="MISSED, SKIPPED: how many due times it stands for"),
    Column("config_revision", BigInteger, comment="job_config_revision that the run used"),
    Column("epoch", BigInteger, comment="leadership under which it was claimed"),
    Column("instance_id", KEY, comment="runtime_instance that runs it"),
    Column("claimed_at", INSTANT, comment="when a leader claimed it"),
    Column("started_at", INSTANT, comment="when the handler was called; claimed ahead: when it is to be"),
    Column("finished_at", INSTANT, comment="when it ended"),
    Column("duration_s", Double, comment="how long the handler ran"),
    Column("error_type", String(255), comment="class of the exception"),
    Column("error", LONG_TEXT, comment="message and bounded traceback"),
    created_at(),
    Column("backfill_id", KEY, comment="the backfill that it belongs to"),
    Column("offered_at", INSTANT, comment="QUEUED: since when any replica may fetch it"),
    Column("starts_at", INSTANT, comment="claimed ahead: its handler is called then, not before"),
    Column(
        "config_overrides",
        JSON_TEXT,
        comment="JSON object: values that this run has instead of those of its config",
    ),
    Column("traceparent", TRACEPARENT, comment="the span that its own is a child of, in a trace"),
    checks.between("attempt", 1, MAX_INTEGER, "attempt_is_positive"),
    checks.one_of("state", RunState, "run_state_is_known"),
    checks.one_of("trigger_type", TriggerType, "trigger_type_is_known"),
    **ON_MYSQL,
)
Index("ix_job_run_job_time", job_run.c.job_id, job_run.c.scheduled_time)
Index("ix_job_run_state_time", job_run.c.state, job_run.c.scheduled_time)
Index("ix_job_run_time", job_run.c.scheduled_time, job_run.c.run_id)
Index("ix_job_run_finished", job_run.c.finished_at)
Index("ix_job_run_backfill", job_run.c.backfill_id, job_run.c.scheduled_time)
Index("ix_job_run_offered", job_run.c.offered_at)

job_lock = Table(
    "job_lock",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("scheduled_time", INSTANT, primary_key=True, comment="the due time that is claimed"),
    Column("run_id", KEY, nullable=False, comment="the current run of the due time"),
    Column("claim_token", KEY, nullable=False, comment="the batch of claims that inserted it"),
    Column("epoch", BigInteger, nullable=False, comment="leadership under which it was claimed"),
    created_at(),
    **ON_MYSQL,
)
