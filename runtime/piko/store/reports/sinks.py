"""Sinks for people: what waits for each, whether it takes anything, and what it has refused, by replica."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

from piko.model.sinks import SinkState
from piko.store.engine import Database
from piko.store.reports.dead_letters import LetterHolder
from piko.store.reports.replicas import ReplicaList, ReplicaReport
from piko.store.schema.tables.dead_letters import dead_letter

_HEARD_S = 3600.0
_MOST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkShare:
    """What one replica says of a sink, or what it has listed of its dead letters if it has ended."""

    instance_id: str
    host: str | None
    holder: LetterHolder
    state: SinkState


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkReport:
    """One sink over all replicas.

    `waiting` and `dead_letters` are sums; `oldest_at` is when the first of what waits was put on disk, None
    where all of it is in memory; `error` is that of the replica for which it has failed for longest, since
    `failing_since`.
    """

    sink: str
    waiting: int
    oldest_at: datetime | None
    error: str | None
    failing_since: datetime | None
    dead_letters: int
    first_died_at: datetime | None
    replicas: Sequence[SinkShare]


class SinkList:
    """Reads them."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SinkReport]:
        """Every sink that a replica has named within an hour, or of which an ended one has left letters."""
        replicas = await ReplicaList(database=self._database).replicas()
        return sinks_of(replicas, await self._left(item.instance_id for item in replicas if _is_over(item)))

    async def _left(self, instance_ids: Iterable[str]) -> list[Listed]:
        """What these instances have listed: at most some hundred letters each."""
        ended = sorted(instance_ids)
        if not ended:
            return []
        columns = dead_letter.c
        listed = (
            select(columns.instance_id, columns.sink, func.count(), func.min(columns.died_at))
            .where(columns.instance_id.in_(ended))
            .group_by(columns.instance_id, columns.sink)
            .limit(_MOST)
        )
        async with self._database.statements() as connection:
            return [Listed(*row) for row in await connection.execute(listed)]


def _is_over(item: ReplicaReport) -> bool:
    return item.stopped_at is not None or item.silent_s >= _HEARD_S


@dataclass(frozen=True, slots=True)
class Listed:
    """How many letters of a sink an instance has listed, and when the first was refused."""

    instance_id: str
    sink: str
    count: int
    first_died_at: datetime


def sinks_of(replicas: Sequence[ReplicaReport], listed: Sequence[Listed]) -> list[SinkReport]:
    """The sinks of `replicas`, and of `listed` what those have left that are over."""
    shares = [
        SinkShare(
            instance_id=item.instance_id,
            host=item.host,
            holder=LetterHolder.SILENT if item.silent else LetterHolder.ALIVE,
            state=state,
        )
        for item in replicas
        if not _is_over(item)
        for state in item.sinks
    ]
    hosts = {item.instance_id: item.host for item in replicas}
    shares += [_left(item, hosts.get(item.instance_id)) for item in listed]
    names = sorted({share.state.sink for share in shares})
    return [_sink(name, [share for share in shares if share.state.sink == name]) for name in names]


def _left(left: Listed, host: str | None) -> SinkShare:
    state = SinkState(
        sink=left.sink,
        durability="unknown",
        waiting=0,
        dead_letters=left.count,
        first_died_at=left.first_died_at,
    )
    return SinkShare(instance_id=left.instance_id, host=host, holder=LetterHolder.ENDED, state=state)


def _sink(name: str, shares: Sequence[SinkShare]) -> SinkReport:
    states = [share.state for share in shares]
    failing = sorted(
        (state for state in states if state.error is not None),
        key=lambda state: (state.failing_since is None, state.failing_since),
    )
    return SinkReport(
        sink=name,
        waiting=sum(state.waiting for state in states),
        oldest_at=min((state.oldest_at for state in states if state.oldest_at), default=None),
        error=failing[0].error if failing else None,
        failing_since=failing[0].failing_since if failing else None,
        dead_letters=sum(state.dead_letters for state in states),
        first_died_at=min((state.first_died_at for state in states if state.first_died_at), default=None),
        replicas=shares,
    )
