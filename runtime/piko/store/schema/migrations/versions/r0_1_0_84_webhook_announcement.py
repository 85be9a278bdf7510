"""Create `webhook_announcement`."""

from __future__ import annotations

from sqlalchemy import Column, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_84"
down_revision = "0.1.0_83"


def upgrade(steps: Steps) -> None:
    kind = "what is announced to the webhook: failure or late; without the row it is announced again"
    steps.create_table(
        Table(
            "webhook_announcement",
            MetaData(),
            Column("job_id", JOB_ID, primary_key=True, comment="the job"),
            Column("kind", String(16), primary_key=True, comment=kind),
            Column("since", INSTANT, nullable=False, comment="since when the job fails or is late"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
