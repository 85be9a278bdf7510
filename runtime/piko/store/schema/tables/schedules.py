"""Schedules: the options that people and resources write, and how far the runtime has come with the row."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Table

from piko.model.schedules import ScheduleOptions
from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT, JOB_ID
from piko.store.schema.declared import declared_checks, declared_columns, declared_instants
from piko.store.schema.dialects import triggers_on_sqlite
from piko.store.schema.tables.metadata import ON_MYSQL, created_at, metadata, updated_at
from piko.store.schema.tables.ownership import managed_by, version

scheduled_job = Table(
    "scheduled_job",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job, as the code registers it"),
    *declared_columns(ScheduleOptions),
    version(),
    Column(
        "last_data_time",
        INSTANT,
        comment="watermark: data before it is done; the runtime moves it, people may set it",
    ),
    Column("completed_at", INSTANT, comment="set when a `date` schedule has fired"),
    managed_by(),
    created_at(),
    updated_at(),
    Column(
        "paused_until",
        INSTANT,
        comment="with enabled = 0, in a row that SQL owns: the leader resumes the schedule then",
    ),
    *checks.job_id(),
    *declared_checks(ScheduleOptions),
    CheckConstraint(
        "start_at IS NULL OR end_at IS NULL OR start_at < end_at", name="start_at_is_before_end_at"
    ),
    CheckConstraint(
        "concurrency_limit IS NULL OR concurrency_group IS NOT NULL", name="concurrency_limit_needs_a_group"
    ),
    checks.between("version", 0, checks.MAX_BIGINT, "version_is_not_negative"),
    *checks.instants("last_data_time", "completed_at", "paused_until"),
    *checks.stamps(),
    checks.managed_by(),
    **ON_MYSQL,
)
Index("ix_scheduled_job_updated", scheduled_job.c.updated_at, scheduled_job.c.version)
Index("ix_scheduled_job_paused_until", scheduled_job.c.paused_until)
Index(
    "ix_scheduled_job_objective",
    scheduled_job.c.data_within_s,
    scheduled_job.c.start_within_s,
    scheduled_job.c.finish_within_s,
    scheduled_job.c.enabled,
)
triggers_on_sqlite(
    scheduled_job, instants=(*declared_instants(ScheduleOptions), "last_data_time", "completed_at")
)
