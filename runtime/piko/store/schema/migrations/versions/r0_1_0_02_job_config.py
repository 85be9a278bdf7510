"""Create `job_config`."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, MetaData, String, Table, text

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, STAMP, Now, NowOnWrite
from piko.store.schema.dialects import is_sqlite_instant, on_mysql, on_sqlite
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_02"
down_revision = "0.1.0_01"


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "job_config",
            MetaData(),
            Column("job_id", JOB_ID, primary_key=True, comment="the job, as the code registers it"),
            Column(
                "schema_version",
                Integer,
                nullable=False,
                server_default=text("1"),
                comment="version of the shape of config_json, as the job numbers it",
            ),
            Column(
                "config_json",
                JSON_TEXT,
                nullable=False,
                comment="an object, checked against the model of the job",
            ),
            Column("secret_json", JSON_TEXT, comment="merged over config_json; never shown"),
            Column("effective_from", INSTANT, comment="NULL: now"),
            Column(
                "version",
                BigInteger,
                nullable=False,
                server_default=text("1"),
                comment="yours to raise; any edit counts, raised or not",
            ),
            Column("updated_by", String(255), comment="who wrote it, by their own account"),
            Column(
                "managed_by",
                String(512),
                comment="cluster/namespace/name/uid of its owner; NULL: SQL owns it",
            ),
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
            CheckConstraint("length(job_id) BETWEEN 1 AND 128", name="config_job_id_is_1_to_128_characters"),
            on_mysql(
                CheckConstraint(
                    "job_id NOT REGEXP '[^A-Za-z0-9_.:-]'", name="config_job_id_has_only_allowed_characters"
                )
            ),
            on_sqlite(
                CheckConstraint(
                    "job_id NOT GLOB '*[^A-Za-z0-9_.:-]*'", name="config_job_id_has_only_allowed_characters"
                )
            ),
            CheckConstraint("schema_version BETWEEN 1 AND 2147483647", name="schema_version_is_positive"),
            CheckConstraint(
                "version BETWEEN 0 AND 9223372036854775807", name="config_version_is_not_negative"
            ),
            CheckConstraint("config_json IS NULL OR json_valid(config_json)", name="config_json_is_json"),
            CheckConstraint(
                (
                    "lower(json_type(CASE WHEN json_valid(config_json) THEN config_json ELSE '{}' "
                    "END)) = 'object'"
                ),
                name="config_json_is_an_object",
            ),
            CheckConstraint("secret_json IS NULL OR json_valid(secret_json)", name="secret_json_is_json"),
            CheckConstraint(
                (
                    "lower(json_type(CASE WHEN json_valid(secret_json) THEN secret_json ELSE '{}' "
                    "END)) = 'object'"
                ),
                name="secret_json_is_an_object",
            ),
            on_mysql(CheckConstraint("effective_from >= '1000-01-01'", name="effective_from_is_an_instant")),
            on_sqlite(
                CheckConstraint(is_sqlite_instant("effective_from"), name="effective_from_is_an_instant")
            ),
            on_sqlite(CheckConstraint(is_sqlite_instant("created_at"), name="created_at_is_an_instant")),
            on_sqlite(CheckConstraint(is_sqlite_instant("updated_at"), name="updated_at_is_an_instant")),
            CheckConstraint(
                "managed_by LIKE '_%/_%/_%/_%'", name="config_managed_by_is_cluster_namespace_name_uid"
            ),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
