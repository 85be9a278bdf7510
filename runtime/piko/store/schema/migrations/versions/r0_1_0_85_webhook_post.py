"""Create `webhook_post`."""

from __future__ import annotations

from sqlalchemy import Column, Integer, MetaData, String, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, LONG_TEXT
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_85"
down_revision = "0.1.0_84"


def upgrade(steps: Steps) -> None:
    event = "what is announced: failure, late or recovered"
    tries = "tries that have failed"
    next_try = "it is not tried before then; NULL: it is tried at once"
    steps.create_table(
        Table(
            "webhook_post",
            MetaData(),
            Column("post_id", KEY, primary_key=True, comment="the header webhook-id, the same in each try"),
            Column("job_id", JOB_ID, nullable=False, comment="the job"),
            Column("event", String(16), nullable=False, comment=event),
            Column("body", LONG_TEXT, nullable=False, comment="the JSON that is posted"),
            Column("created_at", INSTANT, nullable=False, comment="when the change was found"),
            Column("attempts", Integer, nullable=False, server_default=text("0"), comment=tries),
            Column("next_try_at", INSTANT, comment=next_try),
            Column("error", LONG_TEXT, comment="why the last try failed"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
