"""Create `scheduled_job`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    text,
)

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, STAMP, Now, NowOnWrite
from piko.store.schema.dialects import is_sqlite_instant, on_mysql, on_sqlite
from piko.store.schema.migrations.steps import Steps

revision = "0.1.0_01"
down_revision = None


def upgrade(steps: Steps) -> None:
    steps.create_table(
        Table(
            "scheduled_job",
            MetaData(),
            Column("job_id", JOB_ID, primary_key=True, comment="the job, as the code registers it"),
            Column("schedule_type", String(16), nullable=False, comment="cron, interval or date"),
            Column(
                "schedule_expr", JSON_TEXT, nullable=False, comment="JSON; its form depends on schedule_type"
            ),
            Column("timezone", String(64), comment="IANA name; NULL: the setting `timezone`"),
            Column(
                "enabled",
                Boolean,
                nullable=False,
                server_default=text("1"),
                comment="0: the schedule is paused",
            ),
            Column(
                "version",
                BigInteger,
                nullable=False,
                server_default=text("1"),
                comment="yours to raise; any edit counts, raised or not",
            ),
            Column("start_at", INSTANT, comment="no due time before this instant"),
            Column("end_at", INSTANT, comment="no due time after this instant"),
            Column(
                "jitter_s",
                Double,
                nullable=False,
                server_default=text("0"),
                comment="delays the start by up to this; the same on every replica",
            ),
            Column(
                "misfire_grace_s",
                Double,
                nullable=False,
                server_default=text("300"),
                comment="a due time that is later than this is recorded as MISSED",
            ),
            Column(
                "coalesce",
                Boolean,
                nullable=False,
                server_default=text("1"),
                comment="1: of several due times that are due at once, only the latest runs",
            ),
            Column(
                "overlap_policy",
                String(16),
                nullable=False,
                server_default="skip",
                comment="while max_instances are running: skip, queue, queue_all, replace or allow",
            ),
            Column(
                "max_instances",
                Integer,
                nullable=False,
                server_default=text("1"),
                comment="runs of the job at once",
            ),
            Column("concurrency_group", String(128), comment="jobs that share a limit"),
            Column(
                "concurrency_limit",
                Integer,
                comment="runs at once in the group; the lowest limit of its rows counts",
            ),
            Column(
                "priority", Integer, nullable=False, server_default=text("0"), comment="higher starts first"
            ),
            Column("timeout_s", Double, comment="NULL: the job's own, else none"),
            Column("max_attempts", Integer, comment="NULL: the job's own, else 1"),
            Column(
                "retry_backoff_s",
                Double,
                nullable=False,
                server_default=text("10"),
                comment="pause before the second attempt; it doubles from attempt to attempt",
            ),
            Column(
                "retry_max_backoff_s",
                Double,
                nullable=False,
                server_default=text("300"),
                comment="the longest pause",
            ),
            Column("backfill_policy", String(16), comment="NULL: the job's own"),
            Column(
                "max_lookback_s",
                Double,
                comment="NULL: no bound; else older windows are dropped and recorded as MISSED",
            ),
            Column(
                "backfill_max_windows",
                Integer,
                comment="NULL: no bound; else further windows are dropped and recorded as MISSED",
            ),
            Column(
                "history_successful",
                Integer,
                nullable=False,
                server_default=text("100"),
                comment="how many runs that succeeded are kept",
            ),
            Column(
                "history_failed",
                Integer,
                nullable=False,
                server_default=text("100"),
                comment="how many other runs are kept",
            ),
            Column(
                "last_data_time",
                INSTANT,
                comment="watermark: data before it is done; the runtime moves it, people may set it",
            ),
            Column("completed_at", INSTANT, comment="set when a `date` schedule has fired"),
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
            CheckConstraint("length(job_id) BETWEEN 1 AND 128", name="job_id_is_1_to_128_characters"),
            on_mysql(
                CheckConstraint(
                    "job_id NOT REGEXP '[^A-Za-z0-9_.:-]'", name="job_id_has_only_allowed_characters"
                )
            ),
            on_sqlite(
                CheckConstraint(
                    "job_id NOT GLOB '*[^A-Za-z0-9_.:-]*'", name="job_id_has_only_allowed_characters"
                )
            ),
            CheckConstraint(
                "schedule_type IN ('cron', 'interval', 'date')", name="schedule_type_is_cron_interval_or_date"
            ),
            CheckConstraint(
                "schedule_expr IS NULL OR json_valid(schedule_expr)", name="schedule_expr_is_json"
            ),
            CheckConstraint("timezone <> ''", name="timezone_is_not_empty"),
            CheckConstraint("enabled IN (0, 1)", name="enabled_is_0_or_1"),
            CheckConstraint("version BETWEEN 0 AND 9223372036854775807", name="version_is_not_negative"),
            on_mysql(CheckConstraint("start_at >= '1000-01-01'", name="start_at_is_an_instant")),
            on_sqlite(CheckConstraint(is_sqlite_instant("start_at"), name="start_at_is_an_instant")),
            on_mysql(CheckConstraint("end_at >= '1000-01-01'", name="end_at_is_an_instant")),
            on_sqlite(CheckConstraint(is_sqlite_instant("end_at"), name="end_at_is_an_instant")),
            on_mysql(CheckConstraint("last_data_time >= '1000-01-01'", name="last_data_time_is_an_instant")),
            on_sqlite(
                CheckConstraint(is_sqlite_instant("last_data_time"), name="last_data_time_is_an_instant")
            ),
            on_mysql(CheckConstraint("completed_at >= '1000-01-01'", name="completed_at_is_an_instant")),
            on_sqlite(CheckConstraint(is_sqlite_instant("completed_at"), name="completed_at_is_an_instant")),
            on_sqlite(CheckConstraint(is_sqlite_instant("created_at"), name="created_at_is_an_instant")),
            on_sqlite(CheckConstraint(is_sqlite_instant("updated_at"), name="updated_at_is_an_instant")),
            CheckConstraint(
                "start_at IS NULL OR end_at IS NULL OR start_at < end_at", name="start_at_is_before_end_at"
            ),
            CheckConstraint("jitter_s BETWEEN 0 AND 86400", name="jitter_s_is_0_to_86400"),
            CheckConstraint(
                "misfire_grace_s BETWEEN 0 AND 10000000000", name="misfire_grace_s_is_not_negative"
            ),
            CheckConstraint("coalesce IN (0, 1)", name="coalesce_is_0_or_1"),
            CheckConstraint(
                "overlap_policy IN ('skip', 'queue', 'queue_all', 'replace', 'allow')",
                name="overlap_policy_is_known",
            ),
            CheckConstraint("max_instances BETWEEN 1 AND 2147483647", name="max_instances_is_positive"),
            CheckConstraint("concurrency_group <> ''", name="concurrency_group_is_not_empty"),
            CheckConstraint(
                "concurrency_limit BETWEEN 1 AND 2147483647", name="concurrency_limit_is_positive"
            ),
            CheckConstraint(
                "concurrency_limit IS NULL OR concurrency_group IS NOT NULL",
                name="concurrency_limit_needs_a_group",
            ),
            CheckConstraint("priority BETWEEN -2147483647 AND 2147483647", name="priority_is_a_whole_number"),
            CheckConstraint("timeout_s > 0 AND timeout_s <= 10000000000", name="timeout_s_is_positive"),
            CheckConstraint("max_attempts BETWEEN 1 AND 2147483647", name="max_attempts_is_positive"),
            CheckConstraint(
                "retry_backoff_s BETWEEN 0 AND 10000000000", name="retry_backoff_s_is_not_negative"
            ),
            CheckConstraint(
                "retry_max_backoff_s BETWEEN 0 AND 10000000000", name="retry_max_backoff_s_is_not_negative"
            ),
            CheckConstraint("backfill_policy IN ('CATCH_UP', 'SKIP')", name="backfill_policy_is_known"),
            CheckConstraint(
                "max_lookback_s > 0 AND max_lookback_s <= 10000000000", name="max_lookback_s_is_positive"
            ),
            CheckConstraint(
                "backfill_max_windows BETWEEN 1 AND 2147483647", name="backfill_max_windows_is_positive"
            ),
            CheckConstraint(
                "history_successful BETWEEN 0 AND 2147483647", name="history_successful_is_not_negative"
            ),
            CheckConstraint("history_failed BETWEEN 0 AND 2147483647", name="history_failed_is_not_negative"),
            CheckConstraint("managed_by LIKE '_%/_%/_%/_%'", name="managed_by_is_cluster_namespace_name_uid"),
            mysql_engine="InnoDB",
            mysql_charset="utf8mb4",
            mysql_collate="utf8mb4_bin",
        )
    )
