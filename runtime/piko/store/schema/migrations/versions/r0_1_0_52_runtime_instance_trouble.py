"""Add `trouble` to `runtime_instance`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import JSON_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_52"
down_revision = "0.1.0_51"


def upgrade(steps: Steps) -> None:
    comment = "what only it knows of its troubles; NULL: none"
    steps.add_column("runtime_instance", Column("trouble", JSON_TEXT, comment=comment))
