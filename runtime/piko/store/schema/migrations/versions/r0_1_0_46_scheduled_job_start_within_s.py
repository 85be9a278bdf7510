"""Add `start_within_s` to `scheduled_job`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_46"
down_revision = "0.1.0_45"


def upgrade(steps: Steps) -> None:
    comment = "objective: a run starts within this time; as above"
    limit = CheckConstraint(
        "start_within_s > 0 AND start_within_s <= 10000000000", name="start_within_s_is_positive"
    )
    steps.add_column("scheduled_job", Column("start_within_s", Double, comment=comment), limit)
