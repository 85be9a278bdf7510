"""Add `row_gone_at` to `job_state`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_32"
down_revision = "0.1.0_31"


def upgrade(steps: Steps) -> None:
    comment = "when that row was found deleted; the progress is kept from then on"
    steps.add_column("job_state", Column("row_gone_at", INSTANT, comment=comment))
