"""The tables: the contract between the operator, people with a SQL prompt, and the runtime.

Conventions, on MySQL, MariaDB and SQLite alike:

- Times are UTC with microseconds and without a zone. `created_at` and `updated_at` of the tables that
  people write are `TIMESTAMP` on MySQL, because it stores UTC whatever the zone of the session that wrote.
- `job_id` compares byte by byte.
- A column that people need not fill has a default, or is nullable with "not said" as its meaning.
- Durations are seconds, in columns that end in `_s`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    text,
)

from piko.core.types import BackfillPolicy, JobStatus, OverlapPolicy, RunState, TriggerType
from piko.store.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT, STAMP, Now, NowOnWrite
from piko.store.dialects import is_sqlite_instant, on_mysql, on_sqlite, triggers_on_sqlite

metadata = MetaData()

# Binary, so that a word compares as it is written: `CRON` is not `cron`, on any database.
_ON_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}

_MAX_INTEGER = 2**31 - 1
_MAX_BIGINT = 2**63 - 1
_MAX_SECONDS = 10**10  # more than any Go duration, and today plus or minus as much is still a date
_NO_JOB_ID_CHARACTER = "[^A-Za-z0-9_.:-]"


def _created_at() -> Column[object]:
    return Column("created_at", STAMP, nullable=False, server_default=Now())


def _updated_at() -> Column[object]:
    return Column("updated_at", STAMP, nullable=False, server_default=NowOnWrite())


def _one_of(column: str, values: Iterable[StrEnum | str], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def _boolean(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} IN (0, 1)", name=f"{column}_is_0_or_1")


def _between(column: str, low: int, high: int, name: str) -> CheckConstraint:
    # The upper bound is also what refuses text in a number's place on SQLite, where text is the larger.
    return CheckConstraint(f"{column} BETWEEN {low} AND {high}", name=name)


def _positive_seconds(column: str) -> CheckConstraint:
    return CheckConstraint(f"{column} > 0 AND {column} <= {_MAX_SECONDS}", name=f"{column}_is_positive")


def _not_empty(column: str, name: str | None = None) -> CheckConstraint:
    return CheckConstraint(f"{column} <> ''", name=name or f"{column}_is_not_empty")


def _json(column: str) -> CheckConstraint:
    return CheckConstraint(f"json_valid({column})", name=f"{column}_is_json")


def _json_or_null(column: str) -> CheckConstraint:
    # SQLite before 3.45 says of NULL that it is no JSON, where the others say NULL, which passes.
    return CheckConstraint(f"{column} IS NULL OR json_valid({column})", name=f"{column}_is_json")


def _json_object(column: str) -> CheckConstraint:
    # What is no JSON at all is for the constraint that says so; MySQL would stop here with another error.
    return CheckConstraint(
        f"lower(json_type(CASE WHEN json_valid({column}) THEN {column} ELSE '{{}}' END)) = 'object'",
        name=f"{column}_is_an_object",
    )


def _job_id(prefix: str = "") -> Iterator[CheckConstraint]:
    name = f"{prefix}job_id_has_only_allowed_characters"
    yield CheckConstraint("length(job_id) BETWEEN 1 AND 128", name=f"{prefix}job_id_is_1_to_128_characters")
    yield on_mysql(CheckConstraint(f"job_id NOT REGEXP '{_NO_JOB_ID_CHARACTER}'", name=name))
    yield on_sqlite(CheckConstraint(f"job_id NOT GLOB '*{_NO_JOB_ID_CHARACTER}*'", name=name))


def _managed_by(prefix: str = "") -> CheckConstraint:
    return CheckConstraint(
        "managed_by LIKE '_%/_%/_%/_%'", name=f"{prefix}managed_by_is_cluster_namespace_name_uid"
    )


def _instants(*columns: str) -> Iterator[CheckConstraint]:
    for column in columns:
        name = f"{column}_is_an_instant"
        yield on_mysql(CheckConstraint(f"{column} >= '1000-01-01'", name=name))
        yield on_sqlite(CheckConstraint(is_sqlite_instant(column), name=name))


def _stamps() -> Iterator[CheckConstraint]:
    for column in ("created_at", "updated_at"):
        yield on_sqlite(CheckConstraint(is_sqlite_instant(column), name=f"{column}_is_an_instant"))


# ---- what people and the operator write -----------------------------------------------------------

scheduled_job = Table(
    "scheduled_job",
    metadata,
    Column("job_id", JOB_ID, primary_key=True),
    Column("schedule_type", String(16), nullable=False),
    Column("schedule_expr", JSON_TEXT, nullable=False, comment="JSON; its form depends on schedule_type"),
    Column("timezone", String(64), comment="IANA name; NULL: the setting `timezone`"),
    Column("enabled", Boolean, nullable=False, server_default=text("1")),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    Column("start_at", INSTANT),
    Column("end_at", INSTANT),
    Column("jitter_s", Double, nullable=False, server_default=text("0")),
    Column("misfire_grace_s", Double, nullable=False, server_default=text("300")),
    Column("coalesce", Boolean, nullable=False, server_default=text("1")),
    Column("overlap_policy", String(16), nullable=False, server_default=OverlapPolicy.SKIP.value),
    Column("max_instances", Integer, nullable=False, server_default=text("1")),
    Column("concurrency_group", String(128)),
    Column("concurrency_limit", Integer, comment="runs at once in the group; the lowest of its rows counts"),
    Column("priority", Integer, nullable=False, server_default=text("0"), comment="higher starts first"),
    Column("timeout_s", Double, comment="NULL: the job's own, else none"),
    Column("max_attempts", Integer, comment="NULL: the job's own, else 1"),
    Column("retry_backoff_s", Double, nullable=False, server_default=text("10")),
    Column("retry_max_backoff_s", Double, nullable=False, server_default=text("300")),
    Column("backfill_policy", String(16), comment="NULL: the job's own"),
    Column("max_lookback_s", Double, comment="NULL: no bound"),
    Column("backfill_max_windows", Integer, nullable=False, server_default=text("100"), comment="per tick"),
    Column("history_successful", Integer, nullable=False, server_default=text("100")),
    Column("history_failed", Integer, nullable=False, server_default=text("100")),
    Column("last_data_time", INSTANT, comment="watermark; the runtime moves it, people may set it"),
    Column("completed_at", INSTANT, comment="set when a `date` schedule has fired"),
    Column("managed_by", String(512), comment="cluster/namespace/name/uid of its owner; NULL: SQL owns it"),
    _created_at(),
    _updated_at(),
    *_job_id(),
    _one_of("schedule_type", ("cron", "interval", "date"), "schedule_type_is_cron_interval_or_date"),
    _json("schedule_expr"),
    _not_empty("timezone"),
    _boolean("enabled"),
    _between("version", 0, _MAX_BIGINT, "version_is_not_negative"),
    *_instants("start_at", "end_at", "last_data_time", "completed_at"),
    *_stamps(),
    CheckConstraint(
        "start_at IS NULL OR end_at IS NULL OR start_at < end_at", name="start_at_is_before_end_at"
    ),
    _between("jitter_s", 0, 86400, "jitter_s_is_0_to_86400"),
    _between("misfire_grace_s", 0, _MAX_SECONDS, "misfire_grace_s_is_not_negative"),
    _boolean("coalesce"),
    _one_of("overlap_policy", OverlapPolicy, "overlap_policy_is_known"),
    _between("max_instances", 1, _MAX_INTEGER, "max_instances_is_positive"),
    _not_empty("concurrency_group"),
    _between("concurrency_limit", 1, _MAX_INTEGER, "concurrency_limit_is_positive"),
    CheckConstraint(
        "concurrency_limit IS NULL OR concurrency_group IS NOT NULL", name="concurrency_limit_needs_a_group"
    ),
    _between("priority", -_MAX_INTEGER, _MAX_INTEGER, "priority_is_a_whole_number"),
    _positive_seconds("timeout_s"),
    _between("max_attempts", 1, _MAX_INTEGER, "max_attempts_is_positive"),
    _between("retry_backoff_s", 0, _MAX_SECONDS, "retry_backoff_s_is_not_negative"),
    _between("retry_max_backoff_s", 0, _MAX_SECONDS, "retry_max_backoff_s_is_not_negative"),
    _one_of("backfill_policy", BackfillPolicy, "backfill_policy_is_known"),
    _positive_seconds("max_lookback_s"),
    _between("backfill_max_windows", 1, _MAX_INTEGER, "backfill_max_windows_is_positive"),
    _between("history_successful", 0, _MAX_INTEGER, "history_successful_is_not_negative"),
    _between("history_failed", 0, _MAX_INTEGER, "history_failed_is_not_negative"),
    _managed_by(),
    **_ON_MYSQL,
)

job_config = Table(
    "job_config",
    metadata,
    Column("job_id", JOB_ID, primary_key=True),
    Column("schema_version", Integer, nullable=False, server_default=text("1")),
    Column("config_json", JSON_TEXT, nullable=False),
    Column("secret_json", JSON_TEXT, comment="merged over config_json; never shown"),
    Column("effective_from", INSTANT, comment="NULL: now"),
    Column("version", BigInteger, nullable=False, server_default=text("1")),
    Column("updated_by", String(255), comment="who wrote it, as they say"),
    Column("managed_by", String(512), comment="cluster/namespace/name/uid of its owner; NULL: SQL owns it"),
    _created_at(),
    _updated_at(),
    *_job_id("config_"),
    _between("schema_version", 1, _MAX_INTEGER, "schema_version_is_positive"),
    _between("version", 0, _MAX_BIGINT, "config_version_is_not_negative"),
    _json("config_json"),
    _json_object("config_json"),
    _json_or_null("secret_json"),
    _json_object("secret_json"),
    *_instants("effective_from"),
    *_stamps(),
    _managed_by("config_"),
    **_ON_MYSQL,
)

# ---- what the runtime writes ----------------------------------------------------------------------

job_run = Table(
    "job_run",
    metadata,
    Column("run_id", KEY, primary_key=True),
    Column("job_id", JOB_ID, nullable=False),
    Column("scheduled_time", INSTANT, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("1")),
    Column("state", String(16), nullable=False),
    Column("trigger_type", String(16), nullable=False, server_default=TriggerType.SCHEDULE.value),
    Column("priority", Integer, nullable=False, server_default=text("0")),
    Column("not_before", INSTANT, comment="a queued run does not start earlier"),
    Column("window_start", INSTANT, comment="data interval of a stateful job: first instant"),
    Column("window_end", INSTANT, comment="data interval of a stateful job: end, exclusive"),
    Column("missed_through", INSTANT, comment="MISSED, SKIPPED: last of the instants it stands for"),
    Column("missed_count", Integer, comment="MISSED, SKIPPED: how many instants it stands for"),
    Column("config_revision", BigInteger, comment="job_config_revision that the run used"),
    Column("epoch", BigInteger, comment="leadership under which it was claimed"),
    Column("instance_id", KEY, comment="runtime_instance that runs it"),
    Column("claimed_at", INSTANT),
    Column("started_at", INSTANT),
    Column("finished_at", INSTANT),
    Column("duration_s", Double),
    Column("error_type", String(255)),
    Column("error", LONG_TEXT, comment="message and bounded traceback"),
    _created_at(),
    _between("attempt", 1, _MAX_INTEGER, "attempt_is_positive"),
    _one_of("state", RunState, "run_state_is_known"),
    _one_of("trigger_type", TriggerType, "trigger_type_is_known"),
    **_ON_MYSQL,
)
Index("ix_job_run_job_time", job_run.c.job_id, job_run.c.scheduled_time)
Index("ix_job_run_state", job_run.c.state, job_run.c.not_before)
Index("ix_job_run_finished", job_run.c.finished_at)

job_lock = Table(
    "job_lock",
    metadata,
    Column("job_id", JOB_ID, primary_key=True),
    Column("scheduled_time", INSTANT, primary_key=True),
    Column("run_id", KEY, nullable=False, comment="the run that holds the window now"),
    Column("claim_token", KEY, nullable=False, comment="the batch of claims that inserted it"),
    Column("epoch", BigInteger, nullable=False),
    _created_at(),
    **_ON_MYSQL,
)

job_state = Table(
    "job_state",
    metadata,
    Column("job_id", JOB_ID, primary_key=True),
    Column("status", String(16), nullable=False),
    Column("message", LONG_TEXT, comment="why status is what it is, for a person"),
    Column("schedule_hash", KEY, comment="the schedule that the cursor belongs to"),
    Column("observed_version", BigInteger, comment="scheduled_job.version that status speaks of"),
    Column("cursor_at", INSTANT, comment="instants up to here are dealt with"),
    Column("next_run_at", INSTANT),
    Column("last_run_id", KEY),
    Column("last_state", String(16)),
    Column("last_scheduled_time", INSTANT),
    Column("last_started_at", INSTANT),
    Column("last_duration_s", Double),
    Column("last_error", LONG_TEXT),
    Column("last_success_at", INSTANT),
    Column("consecutive_failures", Integer, nullable=False, server_default=text("0")),
    Column("epoch", BigInteger, nullable=False, server_default=text("0")),
    _updated_at(),
    _one_of("status", JobStatus, "job_status_is_known"),
    **_ON_MYSQL,
)

job_config_revision = Table(
    "job_config_revision",
    metadata,
    Column("job_id", JOB_ID, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False, comment="1, 2, … per job"),
    Column("content_hash", KEY, nullable=False),
    Column("schema_version", Integer, nullable=False),
    Column("config_json", JSON_TEXT, nullable=False),
    Column("secret_json", JSON_TEXT),
    Column("effective_from", INSTANT),
    Column("row_version", BigInteger, nullable=False),
    Column("author", String(255)),
    Column("source", String(512), comment="managed_by of the row, or `sql`"),
    Column("error", LONG_TEXT, comment="NULL: valid; else why it never took effect"),
    _created_at(),
    **_ON_MYSQL,
)

job_definition = Table(
    "job_definition",
    metadata,
    Column("job_id", JOB_ID, primary_key=True),
    Column("app", String(255), nullable=False),
    Column("handler", String(512), nullable=False, comment="module:qualified name"),
    Column("stateful", Boolean, nullable=False),
    Column("backfill_policy", String(16)),
    Column("config_schema", JSON_TEXT, comment="JSON Schema of the job's model; NULL: any object"),
    Column("content_hash", KEY, nullable=False),
    Column("instance_id", KEY, nullable=False, comment="runtime_instance that published it last"),
    _created_at(),
    _updated_at(),
    **_ON_MYSQL,
)

runtime_instance = Table(
    "runtime_instance",
    metadata,
    Column("instance_id", KEY, primary_key=True),
    Column("app", String(255), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("version", String(64), nullable=False),
    Column("started_at", INSTANT, nullable=False),
    Column("heartbeat_at", INSTANT, nullable=False, comment="by the database's clock"),
    Column("stopped_at", INSTANT, comment="set by a clean stop"),
    **_ON_MYSQL,
)
Index("ix_runtime_instance_heartbeat", runtime_instance.c.heartbeat_at)

leader_lease = Table(
    "leader_lease",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("epoch", BigInteger, nullable=False, comment="grows by one with each change of leader"),
    Column("holder", KEY, comment="runtime_instance; NULL: released"),
    Column("holder_host", String(255)),
    Column("acquired_at", INSTANT),
    Column("renewed_at", INSTANT),
    Column("expires_at", INSTANT, comment="by the database's clock"),
    **_ON_MYSQL,
)

# SQLite moves `updated_at` and completes instants by triggers, see `dialects`.
triggers_on_sqlite(scheduled_job, instants=("start_at", "end_at", "last_data_time", "completed_at"))
triggers_on_sqlite(job_config, instants=("effective_from",))
triggers_on_sqlite(job_state)
triggers_on_sqlite(job_definition)
