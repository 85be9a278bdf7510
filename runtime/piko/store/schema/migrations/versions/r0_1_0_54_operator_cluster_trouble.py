"""Add `trouble` to `operator_cluster`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import JSON_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_54"
down_revision = "0.1.0_53"


def upgrade(steps: Steps) -> None:
    comment = "what its operator knows of its troubles; NULL: none"
    steps.add_column("operator_cluster", Column("trouble", JSON_TEXT, comment=comment))
