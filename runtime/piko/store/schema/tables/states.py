"""The leader's summary of each job. It outlives the job's row in `scheduled_job`."""

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

from piko.core.types import JobStatus
from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, LONG_TEXT
from piko.store.schema.dialects import triggers_on_sqlite
from piko.store.schema.tables.metadata import ON_MYSQL, metadata, updated_at

job_state = Table(
    "job_state",
    metadata,
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
    Column("epoch", BigInteger, nullable=False, server_default=text("0"), comment="leadership that wrote it"),
    updated_at(),
    Column("given_up_from", INSTANT, comment="start of the data that a bound of the backlog has dropped"),
    Column(
        "given_up_to", INSTANT, comment="end of that data, exclusive; NULL: none, or somebody has answered"
    ),
    Column("data_through", INSTANT, comment="copy of last_data_time, for the next row of the job"),
    Column("row_created_at", INSTANT, comment="scheduled_job.created_at of the row that this belongs to"),
    Column(
        "row_gone_at", INSTANT, comment="when that row was found deleted; the progress is kept from then on"
    ),
    Column("last_failure_at", INSTANT, comment="when a run last failed, timed out or was lost"),
    checks.one_of("status", JobStatus, "job_status_is_known"),
    **ON_MYSQL,
)
# But for the first, a run that goes well changes nothing of these; they lead to the jobs that need somebody.
Index("ix_job_state_next", job_state.c.status, job_state.c.next_run_at)
Index("ix_job_state_failures", job_state.c.consecutive_failures, job_state.c.last_state)
Index("ix_job_state_given_up", job_state.c.given_up_to)
Index("ix_job_state_error", job_state.c.last_error, mysql_length=20, mariadb_length=20)
triggers_on_sqlite(job_state)
