"""Add `data_within_s` to `job_definition`."""

from __future__ import annotations

from sqlalchemy import Column, Double

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_48"
down_revision = "0.1.0_47"


def upgrade(steps: Steps) -> None:
    steps.add_column(
        "job_definition", Column("data_within_s", Double, comment="objective that the code names: data")
    )
