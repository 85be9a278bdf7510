"""Add `data_through` to `job_state`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_30"
down_revision = "0.1.0_29"


def upgrade(steps: Steps) -> None:
    comment = "copy of last_data_time, for the next row of the job"
    steps.add_column("job_state", Column("data_through", INSTANT, comment=comment))
