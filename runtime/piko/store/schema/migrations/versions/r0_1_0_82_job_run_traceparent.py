"""Add `traceparent` to `job_run`."""

from __future__ import annotations

from sqlalchemy import Column

from piko.store.schema.column_types import TRACEPARENT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_82"
down_revision = "0.1.0_81"


def upgrade(steps: Steps) -> None:
    comment = "the span that its own is a child of, in a trace"
    steps.add_column("job_run", Column("traceparent", TRACEPARENT, comment=comment))
