"""Add `config_overrides` to `job_run`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import JSON_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_57"
down_revision = "0.1.0_56"


def upgrade(steps: Steps) -> None:
    comment = "JSON object: values that this run has instead of those of its config"
    steps.add_column("job_run", Column("config_overrides", JSON_TEXT, comment=comment))
