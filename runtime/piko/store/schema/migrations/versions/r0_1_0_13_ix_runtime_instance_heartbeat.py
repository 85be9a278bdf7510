"""Index `runtime_instance` by `heartbeat_at`."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, Table

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_13"
down_revision = "0.1.0_12"


def upgrade(steps: Steps) -> None:
    table = Table("runtime_instance", MetaData(), Column("heartbeat_at", INSTANT))
    steps.create_index(Index("ix_runtime_instance_heartbeat", table.c.heartbeat_at))
