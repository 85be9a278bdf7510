"""The contents that the config of a job has had."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    String,
    Table,
)

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT
from piko.store.schema.tables.metadata import ON_MYSQL, created_at, metadata

job_config_revision = Table(
    "job_config_revision",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("revision", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, … per job"),
    Column("content_hash", KEY, nullable=False, comment="what makes two contents the same"),
    Column("schema_version", Integer, nullable=False, comment="as in job_config"),
    Column("config_json", JSON_TEXT, nullable=False, comment="as in job_config"),
    Column("secret_json", JSON_TEXT, comment="as in job_config; never shown"),
    Column("effective_from", INSTANT, comment="as in job_config"),
    Column("row_version", BigInteger, nullable=False, comment="job_config.version when it was seen"),
    Column("author", String(255), comment="job_config.updated_by when it was seen"),
    Column("source", String(512), comment="managed_by of the row, or `sql`"),
    Column("error", LONG_TEXT, comment="NULL: valid; else why it never took effect"),
    created_at(),
    Column("warning", LONG_TEXT, comment="keys that the job's model does not have; NULL: none"),
    Column("secret_blanked_at", INSTANT, comment="when secret_json was removed: it was no longer in force"),
    **ON_MYSQL,
)
