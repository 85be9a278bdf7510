"""The installation for people: who leads, which replicas there are, the database, and the operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.operators import operator_cluster
from piko.store.schema.tables.replicas import job_definition, leader_lease, runtime_instance

_MOST = 200
_LATELY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadershipReport:
    """A lease of leadership; without a holder it was released. `valid` by the database's clock."""

    name: str
    epoch: int
    holder: str | None
    host: str | None
    acquired_at: datetime | None
    renewed_at: datetime | None
    valid: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOverview:
    """A replica that was heard of within an hour. `silent_s` is the age of its heartbeat."""

    instance_id: str
    app: str
    host: str
    version: str
    started_at: datetime
    stopped_at: datetime | None
    silent_s: float
    jobs: int
    """Definitions that it published last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerReport:
    """The database: its kind and release, its clock, and the clusters whose operators write to it."""

    kind: str
    release: str
    now: datetime
    clusters: Sequence[str]


class Installation:
    """Reads what Piko itself consists of."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def leaders(self) -> tuple[list[LeadershipReport], ServerReport]:
        """The leases, and the database that keeps them; one statement."""
        release = func.sqlite_version() if self._database.is_sqlite else func.version()
        clusters = select(func.group_concat(operator_cluster.c.cluster)).scalar_subquery()
        # Outer, so that the database answers for itself where nobody has led yet, too.
        server = select(Now().label("now"), release.label("release"), clusters.label("clusters")).subquery()
        joined = server.outerjoin(leader_lease, leader_lease.c.name.is_not(None))
        async with self._database.statements() as connection:
            rows = (
                await connection.execute(
                    select(server, leader_lease)
                    .select_from(joined)
                    .order_by(leader_lease.c.name)
                    .limit(_MOST)
                )
            ).all()
        now = rows[0].now
        leaders = [
            LeadershipReport(
                name=row.name,
                epoch=row.epoch,
                holder=row.holder,
                host=row.holder_host,
                acquired_at=row.acquired_at,
                renewed_at=row.renewed_at,
                valid=row.holder is not None and row.expires_at is not None and row.expires_at > now,
            )
            for row in rows
            if row.name is not None
        ]
        return leaders, ServerReport(
            kind=self._database.engine.dialect.name,
            release=str(rows[0].release),
            now=now,
            clusters=str(rows[0].clusters).split(",") if rows[0].clusters else [],
        )

    async def replicas(self) -> list[ReplicaOverview]:
        """Replicas that were heard of lately, by host; one statement."""
        columns = runtime_instance.c
        published = (
            select(job_definition.c.instance_id, func.count().label("jobs"))
            .group_by(job_definition.c.instance_id)
            .subquery()
        )
        names = (columns.instance_id, columns.app, columns.host, columns.version)
        statement = (
            select(*names, columns.started_at, columns.stopped_at, columns.heartbeat_at, Now().label("now"))
            .add_columns(func.coalesce(published.c.jobs, 0).label("jobs"))
            .select_from(
                runtime_instance.outerjoin(published, published.c.instance_id == columns.instance_id)
            )
            .order_by(columns.heartbeat_at.desc())
            .limit(_MOST)
        )
        async with self._database.statements() as connection:
            rows = (await connection.execute(statement)).all()
        found = [
            ReplicaOverview(
                instance_id=row.instance_id,
                app=row.app,
                host=row.host,
                version=row.version,
                started_at=row.started_at,
                stopped_at=row.stopped_at,
                silent_s=(row.now - row.heartbeat_at).total_seconds(),
                jobs=row.jobs,
            )
            for row in rows
            if row.now - row.heartbeat_at < _LATELY
        ]
        return sorted(found, key=lambda replica: (replica.host, replica.started_at))
