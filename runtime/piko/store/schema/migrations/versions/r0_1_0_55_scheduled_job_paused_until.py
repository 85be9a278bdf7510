"""Add `paused_until` to `scheduled_job`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_55"
down_revision = "0.1.0_54"


def upgrade(steps: Steps) -> None:
    comment = "with enabled = 0, in a row that SQL owns: the leader resumes the schedule then"
    steps.add_column(
        "scheduled_job",
        Column("paused_until", INSTANT, comment=comment),
        *checks.instants("paused_until"),
    )
