"""The webhook: what has been announced to it, and what waits to be posted."""

from __future__ import annotations

from sqlalchemy import Column, Integer, String, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, KEY, LONG_TEXT
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

webhook_announcement = Table(
    "webhook_announcement",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column(
        "kind",
        String(16),
        primary_key=True,
        comment="what is announced to the webhook: failure or late; without the row it is announced again",
    ),
    Column("since", INSTANT, nullable=False, comment="since when the job fails or is late"),
    **ON_MYSQL,
)
webhook_post = Table(
    "webhook_post",
    metadata,
    Column("post_id", KEY, primary_key=True, comment="the header webhook-id, the same in each try"),
    Column("job_id", JOB_ID, nullable=False, comment="the job"),
    Column("event", String(16), nullable=False, comment="what is announced: failure, late or recovered"),
    Column("body", LONG_TEXT, nullable=False, comment="the JSON that is posted"),
    Column("created_at", INSTANT, nullable=False, comment="when the change was found"),
    Column("attempts", Integer, nullable=False, server_default=text("0"), comment="tries that have failed"),
    Column("next_try_at", INSTANT, comment="it is not tried before then; NULL: it is tried at once"),
    Column("error", LONG_TEXT, comment="why the last try failed"),
    **ON_MYSQL,
)
