"""Add `row_created_at` to `job_state`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_31"
down_revision = "0.1.0_30"


def upgrade(steps: Steps) -> None:
    comment = "scheduled_job.created_at of the row that this belongs to"
    steps.add_column("job_state", Column("row_created_at", INSTANT, comment=comment))
