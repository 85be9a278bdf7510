"""Add `backfill_id` to `job_run`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import KEY
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_22"
down_revision = "0.1.0_21"


def upgrade(steps: Steps) -> None:
    steps.add_column("job_run", Column("backfill_id", KEY, comment="the backfill that it belongs to"))
