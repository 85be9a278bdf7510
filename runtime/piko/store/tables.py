"""The tables: the contract between the operator, people with a SQL prompt, and the runtime.

Conventions, on MySQL, MariaDB and SQLite alike:

- Times are UTC with microseconds and without a zone. `created_at` and `updated_at` of the tables that
  people write are `TIMESTAMP` on MySQL, because it stores UTC whatever the zone of the session that wrote.
- `job_id` compares byte by byte.
- A column that people need not fill has a default, or is nullable with "not said" as its meaning.
- Durations are seconds, in columns that end in `_s`.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

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

metadata = MetaData()


def _created_at() -> Column[object]:
    return Column("created_at", STAMP, nullable=False, server_default=Now())


def _updated_at() -> Column[object]:
    return Column("updated_at", STAMP, nullable=False, server_default=NowOnWrite())


def _one_of(column: str, values: Iterable[StrEnum | str], name: str) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=name)


def _json(column: str, name: str) -> CheckConstraint:
    return CheckConstraint(f"json_valid({column})", name=name)


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
    Column("managed_by", String(512), comment="cluster/namespace/name/uid of the owner; NULL: SQL owns the row"),
    _created_at(),
    _updated_at(),
    CheckConstraint("length(job_id) BETWEEN 1 AND 128", name="job_id_is_1_to_128_characters"),
    _one_of("schedule_type", ("cron", "interval", "date"), "schedule_type_is_cron_interval_or_date"),
    _json("schedule_expr", "schedule_expr_is_json"),
    CheckConstraint("version >= 0", name="version_is_not_negative"),
    CheckConstraint("start_at IS NULL OR end_at IS NULL OR start_at < end_at", name="start_at_is_before_end_at"),
    CheckConstraint("jitter_s BETWEEN 0 AND 86400", name="jitter_s_is_0_to_86400"),
    CheckConstraint("misfire_grace_s >= 0", name="misfire_grace_s_is_not_negative"),
    _one_of("overlap_policy", OverlapPolicy, "overlap_policy_is_known"),
    CheckConstraint("max_instances >= 1", name="max_instances_is_positive"),
    CheckConstraint("concurrency_limit IS NULL OR concurrency_limit >= 1", name="concurrency_limit_is_positive"),
    CheckConstraint("timeout_s IS NULL OR timeout_s > 0", name="timeout_s_is_positive"),
    CheckConstraint("max_attempts IS NULL OR max_attempts >= 1", name="max_attempts_is_positive"),
    CheckConstraint("retry_backoff_s >= 0", name="retry_backoff_s_is_not_negative"),
    CheckConstraint("retry_max_backoff_s >= 0", name="retry_max_backoff_s_is_not_negative"),
    CheckConstraint(
        "backfill_policy IS NULL OR backfill_policy IN "
        f"({', '.join(repr(policy.value) for policy in BackfillPolicy)})",
        name="backfill_policy_is_known",
    ),
    CheckConstraint("max_lookback_s IS NULL OR max_lookback_s > 0", name="max_lookback_s_is_positive"),
    CheckConstraint("backfill_max_windows >= 1", name="backfill_max_windows_is_positive"),
    CheckConstraint("history_successful >= 0", name="history_successful_is_not_negative"),
    CheckConstraint("history_failed >= 0", name="history_failed_is_not_negative"),
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
    Column("managed_by", String(512), comment="cluster/namespace/name/uid of the owner; NULL: SQL owns the row"),
    _created_at(),
    _updated_at(),
    CheckConstraint("length(job_id) BETWEEN 1 AND 128", name="config_job_id_is_1_to_128_characters"),
    CheckConstraint("schema_version >= 1", name="schema_version_is_positive"),
    CheckConstraint("version >= 0", name="config_version_is_not_negative"),
    _json("config_json", "config_json_is_json"),
    CheckConstraint("secret_json IS NULL OR json_valid(secret_json)", name="secret_json_is_json"),
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
    Column("missed_through", INSTANT, comment="MISSED, SKIPPED: the last of the instants this row stands for"),
    Column("missed_count", Integer, comment="MISSED, SKIPPED: how many instants this row stands for"),
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
    CheckConstraint("attempt >= 1", name="attempt_is_positive"),
    _one_of("state", RunState, "run_state_is_known"),
    _one_of("trigger_type", TriggerType, "trigger_type_is_known"),
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
)
