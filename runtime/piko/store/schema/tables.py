"""The tables: the contract between the operator, people with a SQL prompt, and the runtime.

Conventions, on MySQL, MariaDB and SQLite alike:

- Times are UTC with microseconds and without a zone. `created_at` and `updated_at` of the tables that
  people write are `TIMESTAMP` on MySQL, because it stores UTC whatever the zone of the session that wrote.
- `job_id` compares byte by byte.
- A column that people need not fill has a default, or is nullable with "not said" as its meaning.
- Durations are seconds, in columns that end in `_s`.
"""

from __future__ import annotations

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

from piko.core.types import (
    BackfillPolicy,
    BackfillState,
    JobStatus,
    OverlapPolicy,
    RunState,
    TriggerType,
)
from piko.store.schema import checks
from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY, LONG_TEXT, STAMP, Now, NowOnWrite
from piko.store.schema.dialects import triggers_on_sqlite

metadata = MetaData()

# Binary, so that a word compares as it is written: `CRON` is not `cron`, on any database.
_ON_MYSQL: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
}


def _created_at() -> Column[object]:
    return Column("created_at", STAMP, nullable=False, server_default=Now(), comment="when the row was made")


def _updated_at() -> Column[object]:
    return Column(
        "updated_at", STAMP, nullable=False, server_default=NowOnWrite(), comment="moved by any edit"
    )


# ---- what people and the operator write -----------------------------------------------------------

scheduled_job = Table(
    "scheduled_job",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job, as the code registers it"),
    Column("schedule_type", String(16), nullable=False, comment="cron, interval or date"),
    Column("schedule_expr", JSON_TEXT, nullable=False, comment="JSON; its form depends on schedule_type"),
    Column("timezone", String(64), comment="IANA name; NULL: the setting `timezone`"),
    Column("enabled", Boolean, nullable=False, server_default=text("1"), comment="0: nothing is fired"),
    Column(
        "version",
        BigInteger,
        nullable=False,
        server_default=text("1"),
        comment="yours to raise; any edit counts, raised or not",
    ),
    Column("start_at", INSTANT, comment="nothing is fired before"),
    Column("end_at", INSTANT, comment="nothing is fired after"),
    Column(
        "jitter_s",
        Double,
        nullable=False,
        server_default=text("0"),
        comment="moves the start by up to this, the same on every replica",
    ),
    Column(
        "misfire_grace_s",
        Double,
        nullable=False,
        server_default=text("300"),
        comment="what is later than this is recorded as MISSED",
    ),
    Column(
        "coalesce",
        Boolean,
        nullable=False,
        server_default=text("1"),
        comment="1: of several instants due at once the latest runs",
    ),
    Column(
        "overlap_policy",
        String(16),
        nullable=False,
        server_default=OverlapPolicy.SKIP.value,
        comment="when max_instances are running: skip, queue, queue_all, replace or allow",
    ),
    Column(
        "max_instances", Integer, nullable=False, server_default=text("1"), comment="runs of the job at once"
    ),
    Column("concurrency_group", String(128), comment="jobs that share a limit"),
    Column("concurrency_limit", Integer, comment="runs at once in the group; the lowest of its rows counts"),
    Column("priority", Integer, nullable=False, server_default=text("0"), comment="higher starts first"),
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
    Column("max_lookback_s", Double, comment="NULL: no bound; else older windows are given up"),
    Column("backfill_max_windows", Integer, comment="NULL: no bound; else windows beyond are given up"),
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
    Column("last_data_time", INSTANT, comment="watermark; the runtime moves it, people may set it"),
    Column("completed_at", INSTANT, comment="set when a `date` schedule has fired"),
    Column("managed_by", String(512), comment="cluster/namespace/name/uid of its owner; NULL: SQL owns it"),
    _created_at(),
    _updated_at(),
    *checks.job_id(),
    checks.one_of("schedule_type", ("cron", "interval", "date"), "schedule_type_is_cron_interval_or_date"),
    checks.json("schedule_expr"),
    checks.not_empty("timezone"),
    checks.boolean("enabled"),
    checks.between("version", 0, checks.MAX_BIGINT, "version_is_not_negative"),
    *checks.instants("start_at", "end_at", "last_data_time", "completed_at"),
    *checks.stamps(),
    CheckConstraint(
        "start_at IS NULL OR end_at IS NULL OR start_at < end_at", name="start_at_is_before_end_at"
    ),
    checks.between("jitter_s", 0, 86400, "jitter_s_is_0_to_86400"),
    checks.between("misfire_grace_s", 0, checks.MAX_SECONDS, "misfire_grace_s_is_not_negative"),
    checks.boolean("coalesce"),
    checks.one_of("overlap_policy", OverlapPolicy, "overlap_policy_is_known"),
    checks.between("max_instances", 1, checks.MAX_INTEGER, "max_instances_is_positive"),
    checks.not_empty("concurrency_group"),
    checks.between("concurrency_limit", 1, checks.MAX_INTEGER, "concurrency_limit_is_positive"),
    CheckConstraint(
        "concurrency_limit IS NULL OR concurrency_group IS NOT NULL", name="concurrency_limit_needs_a_group"
    ),
    checks.between("priority", -checks.MAX_INTEGER, checks.MAX_INTEGER, "priority_is_a_whole_number"),
    checks.positive_seconds("timeout_s"),
    checks.between("max_attempts", 1, checks.MAX_INTEGER, "max_attempts_is_positive"),
    checks.between("retry_backoff_s", 0, checks.MAX_SECONDS, "retry_backoff_s_is_not_negative"),
    checks.between("retry_max_backoff_s", 0, checks.MAX_SECONDS, "retry_max_backoff_s_is_not_negative"),
    checks.one_of("backfill_policy", BackfillPolicy, "backfill_policy_is_known"),
    checks.positive_seconds("max_lookback_s"),
    checks.between("backfill_max_windows", 1, checks.MAX_INTEGER, "backfill_max_windows_is_positive"),
    checks.between("history_successful", 0, checks.MAX_INTEGER, "history_successful_is_not_negative"),
    checks.between("history_failed", 0, checks.MAX_INTEGER, "history_failed_is_not_negative"),
    checks.managed_by(),
    **_ON_MYSQL,
)

job_config = Table(
    "job_config",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job, as the code registers it"),
    Column(
        "schema_version",
        Integer,
        nullable=False,
        server_default=text("1"),
        comment="version of the form of config_json, as the job counts it",
    ),
    Column(
        "config_json", JSON_TEXT, nullable=False, comment="an object, checked against the model of the job"
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
    Column("updated_by", String(255), comment="who wrote it, as they say"),
    Column("managed_by", String(512), comment="cluster/namespace/name/uid of its owner; NULL: SQL owns it"),
    _created_at(),
    _updated_at(),
    *checks.job_id("config_"),
    checks.between("schema_version", 1, checks.MAX_INTEGER, "schema_version_is_positive"),
    checks.between("version", 0, checks.MAX_BIGINT, "config_version_is_not_negative"),
    checks.json("config_json"),
    checks.json_object("config_json"),
    checks.json("secret_json"),
    checks.json_object("secret_json"),
    *checks.instants("effective_from"),
    *checks.stamps(),
    checks.managed_by("config_"),
    **_ON_MYSQL,
)

# ---- what the runtime writes ----------------------------------------------------------------------

job_run = Table(
    "job_run",
    metadata,
    Column("run_id", KEY, primary_key=True, comment="one attempt"),
    Column("job_id", JOB_ID, nullable=False, comment="the job"),
    Column("scheduled_time", INSTANT, nullable=False, comment="the instant it is for"),
    Column(
        "attempt", Integer, nullable=False, server_default=text("1"), comment="1, 2, … for one scheduled_time"
    ),
    Column("state", String(16), nullable=False, comment="QUEUED, RUNNING, or how it ended"),
    Column(
        "trigger_type",
        String(16),
        nullable=False,
        server_default=TriggerType.SCHEDULE.value,
        comment="why it exists: schedule, catch_up, retry, manual or backfill",
    ),
    Column("priority", Integer, nullable=False, server_default=text("0"), comment="as the schedule said"),
    Column("not_before", INSTANT, comment="a queued run does not start earlier"),
    Column("window_start", INSTANT, comment="data interval of a stateful job: first instant"),
    Column("window_end", INSTANT, comment="data interval of a stateful job: end, exclusive"),
    Column("missed_through", INSTANT, comment="MISSED, SKIPPED: last of the instants it stands for"),
    Column("missed_count", BigInteger, comment="MISSED, SKIPPED: how many instants it stands for"),
    Column("config_revision", BigInteger, comment="job_config_revision that the run used"),
    Column("epoch", BigInteger, comment="leadership under which it was claimed"),
    Column("instance_id", KEY, comment="runtime_instance that runs it"),
    Column("claimed_at", INSTANT, comment="when a leader took it"),
    Column("started_at", INSTANT, comment="when the handler was called"),
    Column("finished_at", INSTANT, comment="when it ended"),
    Column("duration_s", Double, comment="how long the handler ran"),
    Column("error_type", String(255), comment="class of the exception"),
    Column("error", LONG_TEXT, comment="message and bounded traceback"),
    _created_at(),
    Column("backfill_id", KEY, comment="the backfill that it belongs to"),
    Column("offered_at", INSTANT, comment="QUEUED: any replica may take it since then"),
    checks.between("attempt", 1, checks.MAX_INTEGER, "attempt_is_positive"),
    checks.one_of("state", RunState, "run_state_is_known"),
    checks.one_of("trigger_type", TriggerType, "trigger_type_is_known"),
    **_ON_MYSQL,
)
Index("ix_job_run_job_time", job_run.c.job_id, job_run.c.scheduled_time)
Index("ix_job_run_state", job_run.c.state, job_run.c.not_before)
Index("ix_job_run_finished", job_run.c.finished_at)
Index("ix_job_run_backfill", job_run.c.backfill_id, job_run.c.scheduled_time)
Index("ix_job_run_offered", job_run.c.offered_at)

backfill = Table(
    "backfill",
    metadata,
    Column("backfill_id", KEY, primary_key=True, comment="one request"),
    Column("job_id", JOB_ID, nullable=False, comment="the job, a stateful one"),
    Column("state", String(16), nullable=False, comment="ACTIVE, PAUSED, or how it ended"),
    Column("range_start", INSTANT, nullable=False, comment="start of its first window"),
    Column("range_end", INSTANT, nullable=False, comment="end of its last window, exclusive"),
    Column("schedule_type", String(16), nullable=False, comment="as the row said when it was asked for"),
    Column("schedule_expr", JSON_TEXT, nullable=False, comment="the same; it cuts the windows"),
    Column("timezone", String(64), nullable=False, comment="the same, or the setting `timezone`"),
    Column("parallelism", Integer, nullable=False, server_default=text("1"), comment="its windows at once"),
    Column("next_start", INSTANT, nullable=False, comment="windows before it have been claimed"),
    Column("windows_total", Integer, nullable=False, comment="windows in the range"),
    Column(
        "windows_succeeded", Integer, nullable=False, server_default=text("0"), comment="of them succeeded"
    ),
    Column(
        "windows_failed",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="of them ended otherwise, with no attempt left",
    ),
    Column("message", LONG_TEXT, comment="why nothing of it runs just now, for a person"),
    Column("requested_by", String(255), comment="who asked for it, as they say"),
    Column("finished_at", INSTANT, comment="when the last window ended, or it was cancelled"),
    _created_at(),
    checks.one_of("state", BackfillState, "backfill_state_is_known"),
    CheckConstraint("range_start < range_end", name="range_start_is_before_range_end"),
    checks.between("parallelism", 1, checks.MAX_INTEGER, "parallelism_is_positive"),
    **_ON_MYSQL,
)
Index("ix_backfill_state", backfill.c.state, backfill.c.created_at)

job_lock = Table(
    "job_lock",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("scheduled_time", INSTANT, primary_key=True, comment="the instant that is claimed"),
    Column("run_id", KEY, nullable=False, comment="the run that holds the window now"),
    Column("claim_token", KEY, nullable=False, comment="the batch of claims that inserted it"),
    Column("epoch", BigInteger, nullable=False, comment="leadership under which it was claimed"),
    _created_at(),
    **_ON_MYSQL,
)

job_state = Table(
    "job_state",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column(
        "status",
        String(16),
        nullable=False,
        comment="Scheduled, Disabled, Completed, Invalid, Unregistered or WaitingForConfig",
    ),
    Column("message", LONG_TEXT, comment="why status is what it is, for a person"),
    Column("schedule_hash", KEY, comment="the schedule that the cursor belongs to"),
    Column("observed_version", BigInteger, comment="scheduled_job.version that status speaks of"),
    Column("cursor_at", INSTANT, comment="instants up to here are dealt with"),
    Column("next_run_at", INSTANT, comment="when it is due next"),
    Column("last_run_id", KEY, comment="the run that ended last"),
    Column("last_state", String(16), comment="how it ended"),
    Column("last_scheduled_time", INSTANT, comment="the instant it was for"),
    Column("last_started_at", INSTANT, comment="when its handler was called"),
    Column("last_duration_s", Double, comment="how long its handler ran"),
    Column("last_error", LONG_TEXT, comment="its error"),
    Column("last_success_at", INSTANT, comment="when a run last succeeded"),
    Column(
        "consecutive_failures",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="runs since then that did not succeed",
    ),
    Column("epoch", BigInteger, nullable=False, server_default=text("0"), comment="leadership that wrote it"),
    _updated_at(),
    Column("given_up_from", INSTANT, comment="start of the data that a bound on its backlog has dropped"),
    Column("given_up_to", INSTANT, comment="end of that data, exclusive; NULL: none, or it was answered"),
    Column("data_through", INSTANT, comment="copy of last_data_time, for the next row of the job"),
    Column("row_created_at", INSTANT, comment="scheduled_job.created_at of the row that this speaks of"),
    Column("row_gone_at", INSTANT, comment="when that row was found deleted; what is here is kept meanwhile"),
    checks.one_of("status", JobStatus, "job_status_is_known"),
    **_ON_MYSQL,
)

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
    _created_at(),
    Column("warning", LONG_TEXT, comment="what of it the job's model leaves out; NULL: nothing"),
    Column("secret_blanked_at", INSTANT, comment="when secret_json was removed: it was no longer in force"),
    **_ON_MYSQL,
)

job_definition = Table(
    "job_definition",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("app", String(255), nullable=False, comment="name of the application that has it"),
    Column("handler", String(512), nullable=False, comment="module:qualified name"),
    Column("stateful", Boolean, nullable=False, comment="1: its runs cover windows of data"),
    Column("backfill_policy", String(16), comment="what the code says"),
    Column("config_schema", JSON_TEXT, comment="JSON Schema of the job's model; NULL: any object"),
    Column("content_hash", KEY, nullable=False, comment="what makes two definitions the same"),
    Column("instance_id", KEY, nullable=False, comment="runtime_instance that published it last"),
    _created_at(),
    _updated_at(),
    **_ON_MYSQL,
)

runtime_instance = Table(
    "runtime_instance",
    metadata,
    Column("instance_id", KEY, primary_key=True, comment="one start of one process"),
    Column("app", String(255), nullable=False, comment="name of its application"),
    Column("host", String(255), nullable=False, comment="its host or pod"),
    Column("pid", Integer, nullable=False, comment="its process there"),
    Column("version", String(64), nullable=False, comment="its release of Piko"),
    Column("started_at", INSTANT, nullable=False, comment="when it started"),
    Column("heartbeat_at", INSTANT, nullable=False, comment="by the database's clock"),
    Column("stopped_at", INSTANT, comment="set by a clean stop"),
    Column("fenced_epoch", BigInteger, comment="what it began under this epoch or before is not its own"),
    **_ON_MYSQL,
)
Index("ix_runtime_instance_heartbeat", runtime_instance.c.heartbeat_at)

leader_lease = Table(
    "leader_lease",
    metadata,
    Column("name", String(255), primary_key=True, comment="the setting `leader_name`"),
    Column("epoch", BigInteger, nullable=False, comment="grows by one with each change of leader"),
    Column("holder", KEY, comment="runtime_instance; NULL: released"),
    Column("holder_host", String(255), comment="its host or pod"),
    Column("acquired_at", INSTANT, comment="when this leadership began"),
    Column("renewed_at", INSTANT, comment="when it was last renewed"),
    Column("expires_at", INSTANT, comment="by the database's clock"),
    **_ON_MYSQL,
)

# ---- what the operator remembers ---------------------------------------------------------------------

operator_cluster = Table(
    "operator_cluster",
    metadata,
    Column("cluster", String(63), primary_key=True, comment="first part of managed_by"),
    Column(
        "uid", KEY, nullable=False, comment="uid of the namespace kube-system of the cluster of that name"
    ),
    _created_at(),
    **_ON_MYSQL,
)

orphaned_row = Table(
    "orphaned_row",
    metadata,
    Column("table_name", KEY, primary_key=True, comment="scheduled_job or job_config"),
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("managed_by", String(512), nullable=False, comment="the owner that is gone without a word"),
    Column("found_at", INSTANT, nullable=False, comment="since when; the row goes a day later"),
    **_ON_MYSQL,
)

# SQLite moves `updated_at` and completes instants by triggers, see `dialects`.
triggers_on_sqlite(scheduled_job, instants=("start_at", "end_at", "last_data_time", "completed_at"))
triggers_on_sqlite(job_config, instants=("effective_from",))
triggers_on_sqlite(job_state)
triggers_on_sqlite(job_definition)
