"""Add `sinks` to `runtime_instance`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import JSON_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_64"
down_revision = "0.1.0_63"


def upgrade(steps: Steps) -> None:
    comment = "what waits for each of its sinks, fails or was refused"
    steps.add_column("runtime_instance", Column("sinks", JSON_TEXT, comment=comment))
