"""Add `managed_by` to `backfill`."""

from __future__ import annotations

from sqlalchemy import Column, String

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_86"
down_revision = "0.1.0_85"


def upgrade(steps: Steps) -> None:
    comment = "cluster/namespace/name/uid of the PikoBackfill that asks for it; NULL: none does"
    steps.add_column("backfill", Column("managed_by", String(512), comment=comment))
