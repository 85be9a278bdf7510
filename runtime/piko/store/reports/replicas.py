"""Replicas, who leads them, the database that they share, and definitions, for people.

Who leads, and which replica is silent, is decided here once, by the database's clock: the API, the page and
`piko status` show the same values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, RowMapping, func, literal, select

from piko.model.sinks import SinkState, read_sinks
from piko.model.troubles import ReportedTrouble, read_troubles
from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.operators import operator_cluster
from piko.store.schema.tables.replicas import job_definition, leader_lease, runtime_instance

SILENT_S = 60.0
"""A replica that neither stopped nor was heard of for that long, in seconds, is silent."""
_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReport:
    """A lease of leadership: the instance `holder`, None once it was released, `leads` until it expires."""

    name: str
    epoch: int
    holder: str | None
    holder_host: str | None
    acquired_at: datetime | None
    renewed_at: datetime | None
    expires_at: datetime | None
    leads: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One start of a replica's process, as it says of itself.

    `silent_s` is the age of its heartbeat in seconds; `silent` says that it is too old. `jobs` counts the
    definitions that this instance published last; `troubles` and `sinks` are what it alone knows of.
    """

    instance_id: str
    app: str
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None
    silent_s: float
    silent: bool
    jobs: int
    troubles: Sequence[ReportedTrouble] = ()
    sinks: Sequence[SinkState] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorReport:
    """The operator of a cluster, as it says of itself; `silent` if it was not heard of for too long.

    `heartbeat_at` is None for one that has not acted since the database knows such signs of life.
    """

    cluster: str
    heartbeat_at: datetime | None
    silent: bool
    troubles: Sequence[ReportedTrouble] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """The database: its kind and release, its clock, and the operators that write to it."""

    kind: str
    release: str
    now: datetime
    operators: Sequence[OperatorReport]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionReport:
    """What the code of a job declares, as it was published last."""

    job_id: str
    app: str
    handler: str
    stateful: bool
    backfill_policy: str | None
    config_schema: str | None
    instance_id: str
    updated_at: datetime


_REPLICA = [
    *(runtime_instance.c[field.name] for field in fields(ReplicaReport) if field.name in runtime_instance.c),
    runtime_instance.c.trouble,
]
_OPERATOR = [operator_cluster.c.cluster, operator_cluster.c.heartbeat_at, operator_cluster.c.trouble]
_LEASE = [leader_lease.c[field.name] for field in fields(LeaseReport) if field.name in leader_lease.c]
_DEFINITION = [job_definition.c[field.name] for field in fields(DefinitionReport)]


class ReplicaList:
    """Reads who runs, who leads, and which code they have."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def replicas(self, *, since: datetime | None = None, most: int = _MOST) -> list[ReplicaReport]:
        """At most `most` replicas that were heard of after `since`, None: ever; the latest first."""
        published = (
            select(func.count())
            .where(job_definition.c.instance_id == runtime_instance.c.instance_id)
            .scalar_subquery()
        )
        statement = (
            select(*_REPLICA, published.label("jobs"), Now().label("now"))
            .order_by(runtime_instance.c.heartbeat_at.desc())
            .limit(most)
        )
        if since is not None:
            statement = statement.where(runtime_instance.c.heartbeat_at > since)
        async with self._database.statements() as connection:
            return [_replica(row._mapping) for row in await connection.execute(statement)]

    async def leaders(self) -> tuple[list[LeaseReport], ServerReport]:
        """Each lease by its name, one for each group of replicas, and the database that keeps them."""
        release = func.sqlite_version() if self._database.is_sqlite else func.version()
        least = literal(0).label("least")
        server: list[ColumnElement[Any]] = [Now().label("now"), release.label("release"), least]
        alone = select(*server).subquery()
        # Outer, so that the database answers for itself where nobody has led yet, too. There are few of each.
        joined = alone.outerjoin(leader_lease, leader_lease.c.name.is_not(None)).outerjoin(
            operator_cluster, func.length(operator_cluster.c.cluster) > alone.c.least
        )
        columns = [*_LEASE, *_OPERATOR]
        places = leader_lease.c.name, operator_cluster.c.cluster
        statement = select(alone, *columns).select_from(joined).order_by(*places).limit(_MOST)
        async with self._database.statements() as connection:
            rows = (await connection.execute(statement)).all()
        leases = {row.name: _lease(row) for row in rows if row.name is not None}
        operators = {row.cluster: _operator(row) for row in rows if row.cluster is not None}
        return list(leases.values()), ServerReport(
            kind=self._database.engine.dialect.name,
            release=str(rows[0].release),
            now=rows[0].now,
            operators=list(operators.values()),
        )

    async def definitions(self, *, after: str | None, limit: int) -> list[DefinitionReport]:
        """At most `limit` definitions by job id, after that id."""
        statement = select(*_DEFINITION).order_by(job_definition.c.job_id).limit(limit)
        if after is not None:
            statement = statement.where(job_definition.c.job_id > after)
        async with self._database.statements() as connection:
            return [DefinitionReport(**row._mapping) for row in await connection.execute(statement)]


def _replica(row: RowMapping) -> ReplicaReport:
    values = dict(row)
    silent_s = (values.pop("now") - row["heartbeat_at"]).total_seconds()
    silent = row["stopped_at"] is None and silent_s > SILENT_S
    troubles, sinks = read_troubles(values.pop("trouble")), read_sinks(values.pop("sinks"))
    return ReplicaReport(**values, silent_s=silent_s, silent=silent, troubles=troubles, sinks=sinks)


def _operator(row: Row[Any]) -> OperatorReport:
    beat = row.heartbeat_at
    silent = beat is not None and (row.now - beat).total_seconds() > SILENT_S
    return OperatorReport(
        cluster=row.cluster, heartbeat_at=beat, silent=silent, troubles=read_troubles(row.trouble)
    )


def _lease(row: Row[Any]) -> LeaseReport:
    values = {column.name: row._mapping[column.name] for column in _LEASE}
    leads = row.holder is not None and row.expires_at is not None and row.expires_at > row.now
    return LeaseReport(**values, leads=leads)
