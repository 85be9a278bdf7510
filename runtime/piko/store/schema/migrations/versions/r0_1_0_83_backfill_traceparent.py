"""Add `traceparent` to `backfill`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import TRACEPARENT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_83"
down_revision = "0.1.0_82"


def upgrade(steps: Steps) -> None:
    comment = "the span in which it was asked for, in a trace"
    steps.add_column("backfill", Column("traceparent", TRACEPARENT, comment=comment))
