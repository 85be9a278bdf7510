"""Who changed what."""

from __future__ import annotations

from sqlalchemy import Column, Index, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

change_log = Table(
    "change_log",
    metadata,
    Column("change_id", KEY, primary_key=True, comment="one change; ids grow with time"),
    Column("at", INSTANT, nullable=False, comment="when it was made"),
    Column("who", String(255), nullable=False, comment="who made it, as far as is known"),
    Column(
        "via", String(16), nullable=False, comment="by which way: api, page, cli, resource, sql or leader"
    ),
    Column("what", String(32), nullable=False, comment="what was done: pause, trigger, cancel, …"),
    Column("job_id", JOB_ID, comment="the job that it concerns"),
    Column("before", JSON_TEXT, comment="what was there, as JSON without secrets"),
    Column("after", JSON_TEXT, comment="what is there since"),
    Column("reason", LONG_TEXT, comment="why, by their own account"),
    **ON_MYSQL,
)
Index("ix_change_log_job", change_log.c.job_id, change_log.c.change_id)
