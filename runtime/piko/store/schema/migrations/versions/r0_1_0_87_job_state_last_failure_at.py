"""Add `last_failure_at` to `job_state`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_87"
down_revision = "0.1.0_86"


def upgrade(steps: Steps) -> None:
    comment = "when a run last failed, timed out or was lost"
    steps.add_column("job_state", Column("last_failure_at", INSTANT, comment=comment))
