"""Add `finish_within_s` to `scheduled_job`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_47"
down_revision = "0.1.0_46"


def upgrade(steps: Steps) -> None:
    comment = "objective: a run ends within this time; as above"
    limit = CheckConstraint(
        "finish_within_s > 0 AND finish_within_s <= 10000000000", name="finish_within_s_is_positive"
    )
    steps.add_column("scheduled_job", Column("finish_within_s", Double, comment=comment), limit)
