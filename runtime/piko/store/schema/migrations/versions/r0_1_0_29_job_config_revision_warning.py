"""Add `warning` to `job_config_revision`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import LONG_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_29"
down_revision = "0.1.0_28"


def upgrade(steps: Steps) -> None:
    comment = "keys that the job's model does not have; NULL: none"
    steps.add_column("job_config_revision", Column("warning", LONG_TEXT, comment=comment))
