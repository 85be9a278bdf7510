"""Add `starts_until` to `runtime_instance`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_42"
down_revision = "0.1.0_41"


def upgrade(steps: Steps) -> None:
    comment = "of runs claimed ahead it has started none with a later starts_at"
    steps.add_column("runtime_instance", Column("starts_until", INSTANT, comment=comment))
