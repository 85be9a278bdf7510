"""From when on the data of each job is late, found ahead: so nobody searches all jobs for those whose is."""

from __future__ import annotations

from sqlalchemy import Column, Index, Table

from piko.store.schema.column_types import INSTANT, JOB_ID
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

data_deadline = Table(
    "data_deadline",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column(
        "late_at",
        INSTANT,
        nullable=False,
        comment="its data is late from then on, unless it has come further; in the year 9999: never",
    ),
    **ON_MYSQL,
)
Index("ix_data_deadline_late", data_deadline.c.late_at)
