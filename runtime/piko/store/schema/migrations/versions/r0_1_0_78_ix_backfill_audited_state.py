"""Index `backfill` by the state that `change_log` knows, and the state that it has."""

from __future__ import annotations

from sqlalchemy import Column, Index, MetaData, String, Table

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_78"
down_revision = "0.1.0_77"


def upgrade(steps: Steps) -> None:
    table = Table("backfill", MetaData(), Column("audited_state", String(16)), Column("state", String(16)))
    steps.create_index(Index("ix_backfill_audited_state", table.c.audited_state, table.c.state))
