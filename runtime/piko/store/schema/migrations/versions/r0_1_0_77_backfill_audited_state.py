"""Add `audited_state` to `backfill`."""

from __future__ import annotations

from sqlalchemy import Column, String

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_77"
down_revision = "0.1.0_76"


def upgrade(steps: Steps) -> None:
    comment = "its state as change_log knows it; it differs from state after an edit by SQL"
    steps.add_column("backfill", Column("audited_state", String(16), comment=comment))
