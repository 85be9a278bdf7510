"""Add `secret_blanked_at` to `job_config_revision`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_35"
down_revision = "0.1.0_34"


def upgrade(steps: Steps) -> None:
    comment = "when secret_json was removed: it was no longer in force"
    steps.add_column("job_config_revision", Column("secret_blanked_at", INSTANT, comment=comment))
