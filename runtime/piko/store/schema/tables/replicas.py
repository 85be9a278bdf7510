"""Replicas: the jobs that their code registers, their heartbeats, and which of them leads."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    String,
    Table,
)

from piko.store.schema.column_types import INSTANT, JOB_ID, JSON_TEXT, KEY
from piko.store.schema.dialects import triggers_on_sqlite
from piko.store.schema.tables.metadata import ON_MYSQL, created_at, metadata, updated_at

job_definition = Table(
    "job_definition",
    metadata,
    Column("job_id", JOB_ID, primary_key=True, comment="the job"),
    Column("app", String(255), nullable=False, comment="name of the application that has it"),
    Column("handler", String(512), nullable=False, comment="module:qualified name"),
    Column("stateful", Boolean, nullable=False, comment="1: its runs process windows of data"),
    Column("backfill_policy", String(16), comment="what the code says"),
    Column("config_schema", JSON_TEXT, comment="JSON Schema of the job's model; NULL: any object"),
    Column("content_hash", KEY, nullable=False, comment="what makes two definitions the same"),
    Column("instance_id", KEY, nullable=False, comment="runtime_instance that published it last"),
    created_at(),
    updated_at(),
    Column("data_within_s", Double, comment="objective that the code names: data"),
    Column("start_within_s", Double, comment="the same: start"),
    Column("finish_within_s", Double, comment="the same: end"),
    Column("timezone", String(64), comment="zone of schedules that name none, by the replica's setting"),
    **ON_MYSQL,
)
Index("ix_job_definition_start", job_definition.c.start_within_s, job_definition.c.finish_within_s)
Index("ix_job_definition_data", job_definition.c.data_within_s)
Index("ix_job_definition_stateful", job_definition.c.stateful)
Index("ix_job_definition_instance", job_definition.c.instance_id)
triggers_on_sqlite(job_definition)

runtime_instance = Table(
    "runtime_instance",
    metadata,
    Column("instance_id", KEY, primary_key=True, comment="one start of a replica"),
    Column("app", String(255), nullable=False, comment="name of its application"),
    Column("host", String(255), nullable=False, comment="its host or pod"),
    Column("pid", Integer, nullable=False, comment="its process there"),
    Column("version", String(64), nullable=False, comment="its release of Piko"),
    Column("started_at", INSTANT, nullable=False, comment="when it started"),
    Column("heartbeat_at", INSTANT, nullable=False, comment="by the database's clock"),
    Column("stopped_at", INSTANT, comment="set by a clean stop"),
    Column(
        "fenced_epoch",
        BigInteger,
        comment="runs that it began under this epoch or an earlier one are no longer its own",
    ),
    Column(
        "starts_until",
        INSTANT,
        comment="of runs claimed ahead it has started none with a later starts_at",
    ),
    Column("trouble", JSON_TEXT, comment="what only it knows of its troubles; NULL: none"),
    Column("sinks", JSON_TEXT, comment="what waits for each of its sinks, fails or was refused"),
    **ON_MYSQL,
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
    **ON_MYSQL,
)

session_lock = Table(
    "session_lock",
    metadata,
    Column("instance_id", KEY, primary_key=True, comment="runtime_instance that holds it"),
    Column("lock_name", KEY, nullable=False, comment="new for each session"),
    Column("server", KEY, nullable=False, comment="identity of the database server on which it is held"),
    Column("session_id", BigInteger, nullable=False, comment="CONNECTION_ID() of the session that holds it"),
    Column("taken_at", INSTANT, nullable=False, comment="by the database's clock"),
    **ON_MYSQL,
)
