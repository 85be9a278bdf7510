"""What the operator remembers: which cluster it serves, and rows whose resource is missing."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    String,
    Table,
)

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY
from piko.store.schema.tables.metadata import ON_MYSQL, created_at, metadata

operator_cluster = Table(
    "operator_cluster",
    metadata,
    Column("cluster", String(63), primary_key=True, comment="first part of managed_by"),
    Column(
        "uid", KEY, nullable=False, comment="uid of the namespace kube-system of the cluster of that name"
    ),
    created_at(),
    Column("heartbeat_at", INSTANT, comment="when its operator last said that it acts"),
    Column("trouble", JSON_TEXT, comment="what its operator knows of its troubles; NULL: none"),
    **ON_MYSQL,
)

orphaned_row = Table(
    "orphaned_row",
    metadata,
    Column("table_name", KEY, primary_key=True, comment="scheduled_job or job_config"),
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("managed_by", String(512), nullable=False, comment="the resource that vanished"),
    Column("found_at", INSTANT, nullable=False, comment="since when; the row is removed a day later"),
    **ON_MYSQL,
)
