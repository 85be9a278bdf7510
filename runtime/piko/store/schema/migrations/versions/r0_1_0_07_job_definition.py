"""Create `job_definition`."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, MetaData, String, Table

from piko.store.schema.column_types import JOB_ID, JSON_TEXT, KEY, STAMP, Now, NowOnWrite
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_07"
down_revision = "0.1.0_06"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "job_definition",
            MetaData(),
            Column("job_id", JOB_ID, primary_key=True, comment="the job"),
            Column("app", String(255), nullable=False, comment="name of the application that has it"),
            Column("handler", String(512), nullable=False, comment="module:qualified name"),
            Column("stateful", Boolean, nullable=False, comment="1: its runs process windows of data"),
            Column("backfill_policy", String(16), comment="what the code says"),
            Column("config_schema", JSON_TEXT, comment="JSON Schema of the job's model; NULL: any object"),
            Column("content_hash", KEY, nullable=False, comment="what makes two definitions the same"),
            Column("instance_id", KEY, nullable=False, comment="runtime_instance that published it last"),
            Column(
                "created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was created"
            ),
            Column(
                "updated_at",
                STAMP,
                nullable=False,
                server_default=NowOnWrite(),
                comment="when the row was last edited",
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
