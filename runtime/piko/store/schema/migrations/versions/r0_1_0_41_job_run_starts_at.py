"""Add `starts_at` to `job_run`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_41"
down_revision = "0.1.0_40"


def upgrade(steps: Steps) -> None:
    comment = "claimed ahead: its handler is called then, not before"
    steps.add_column("job_run", Column("starts_at", INSTANT, comment=comment))
