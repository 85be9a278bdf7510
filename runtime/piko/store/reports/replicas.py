"""Replicas, the leader and definitions, for people."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime

from sqlalchemy import select

from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.replicas import job_definition, leader_lease, runtime_instance

_MOST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaReport:
    """One start of a replica's process, as it says of itself."""

    instance_id: str
    app: str
    host: str
    pid: int
    version: str
    started_at: datetime
    heartbeat_at: datetime
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderReport:
    """Who leads under `name`: the instance `holder`, None once it was released; `leads` until it expires."""

    name: str
    epoch: int
    holder: str | None
    holder_host: str | None
    acquired_at: datetime | None
    renewed_at: datetime | None
    expires_at: datetime | None
    leads: bool


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


_REPLICA = [runtime_instance.c[field.name] for field in fields(ReplicaReport)]
_DEFINITION = [job_definition.c[field.name] for field in fields(DefinitionReport)]


class ReplicaList:
    """Reads who runs, who leads, and which code they have."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def replicas(self) -> list[ReplicaReport]:
        """The replicas that were heard of last, the latest first; at most 500."""
        statement = select(*_REPLICA).order_by(runtime_instance.c.heartbeat_at.desc()).limit(_MOST)
        async with self._database.statements() as connection:
            return [ReplicaReport(**row._mapping) for row in await connection.execute(statement)]

    async def leaders(self) -> list[LeaderReport]:
        """Each lease by its name, by the database's clock; there is one for each group of replicas."""
        statement = select(leader_lease, Now().label("now")).order_by(leader_lease.c.name).limit(_MOST)
        async with self._database.statements() as connection:
            found = []
            for row in await connection.execute(statement):
                values = dict(row._mapping)
                now, expires_at = values.pop("now"), row.expires_at
                leads = row.holder is not None and expires_at is not None and expires_at > now
                found.append(LeaderReport(**values, leads=leads))
            return found

    async def definitions(self, *, after: str | None, limit: int) -> list[DefinitionReport]:
        """At most `limit` definitions by job id, after that id."""
        statement = select(*_DEFINITION).order_by(job_definition.c.job_id).limit(limit)
        if after is not None:
            statement = statement.where(job_definition.c.job_id > after)
        async with self._database.statements() as connection:
            return [DefinitionReport(**row._mapping) for row in await connection.execute(statement)]
