"""Create `job_config_revision`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT, STAMP, Now
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_06"
down_revision = "0.1.0_05"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "job_config_revision",
            MetaData(),
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
            Column(
                "created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was created"
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
