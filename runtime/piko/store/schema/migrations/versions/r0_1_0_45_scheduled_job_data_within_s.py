"""Add `data_within_s` to `scheduled_job`."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Double

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_45"
down_revision = "0.1.0_44"


def upgrade(steps: Steps) -> None:
    comment = "objective: a run succeeds within this time after its due time; NULL: the job's own"
    limit = CheckConstraint(
        "data_within_s > 0 AND data_within_s <= 10000000000", name="data_within_s_is_positive"
    )
    steps.add_column("scheduled_job", Column("data_within_s", Double, comment=comment), limit)
