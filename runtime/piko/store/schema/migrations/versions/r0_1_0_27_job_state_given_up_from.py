"""Add `given_up_from` to `job_state`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_27"
down_revision = "0.1.0_26"


def upgrade(steps: Steps) -> None:
    comment = "start of the data that a bound of the backlog has dropped"
    steps.add_column("job_state", Column("given_up_from", INSTANT, comment=comment))
