"""Add `given_up_to` to `job_state`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_28"
down_revision = "0.1.0_27"


def upgrade(steps: Steps) -> None:
    comment = "end of that data, exclusive; NULL: none, or somebody has answered"
    steps.add_column("job_state", Column("given_up_to", INSTANT, comment=comment))
