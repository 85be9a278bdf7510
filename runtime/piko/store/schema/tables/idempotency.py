"""Acts over HTTP that came with an `Idempotency-Key`, and what was answered."""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, String, Table

from piko.store.schema.column_types import INSTANT, KEY, LONG_TEXT
from piko.store.schema.tables.metadata import ON_MYSQL, metadata

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("key_hash", KEY, primary_key=True, comment="hash of the caller and their key"),
    Column("fingerprint", KEY, nullable=False, comment="hash of the request that came with it"),
    Column("token", KEY, nullable=False, comment="who answers it"),
    Column("begun_at", INSTANT, nullable=False, comment="when that began"),
    Column("status", Integer, comment="of the answer; NULL: there is none yet"),
    Column("media_type", String(64), comment="of the answer"),
    Column("answer", LONG_TEXT, comment="its body; NULL: it was too large to keep"),
    **ON_MYSQL,
)
Index("ix_idempotency_key_begun", idempotency_key.c.begun_at)
