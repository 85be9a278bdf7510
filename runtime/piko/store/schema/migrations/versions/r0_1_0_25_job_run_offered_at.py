"""Add `offered_at` to `job_run`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_25"
down_revision = "0.1.0_24"


def upgrade(steps: Steps) -> None:
    comment = "QUEUED: since when any replica may fetch it"
    steps.add_column("job_run", Column("offered_at", INSTANT, comment=comment))
