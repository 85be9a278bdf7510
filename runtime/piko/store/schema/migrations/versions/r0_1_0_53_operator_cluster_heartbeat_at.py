"""Add `heartbeat_at` to `operator_cluster`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_53"
down_revision = "0.1.0_52"


def upgrade(steps: Steps) -> None:
    comment = "when its operator last said that it acts"
    steps.add_column("operator_cluster", Column("heartbeat_at", INSTANT, comment=comment))
