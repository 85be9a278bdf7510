"""Add `timezone` to `job_definition`."""

from __future__ import annotations

from sqlalchemy import Column, String

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_51"
down_revision = "0.1.0_50"


def upgrade(steps: Steps) -> None:
    comment = "zone of schedules that name none, by the replica's setting"
    steps.add_column("job_definition", Column("timezone", String(64), comment=comment))
