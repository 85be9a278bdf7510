"""Add `fenced_epoch` to `runtime_instance`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column

from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_24"
down_revision = "0.1.0_23"


def upgrade(steps: Steps) -> None:
    comment = "runs that it began under this epoch or an earlier one are no longer its own"
    steps.add_column("runtime_instance", Column("fenced_epoch", BigInteger, comment=comment))
