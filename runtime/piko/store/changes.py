"""`change_log`: written in the transaction of the change, so that neither is there without the other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.clock import SystemClock
from piko.core.identity import Ids
from piko.errors import DatabaseUnavailableError
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.tables.changes import change_log
from piko.store.upsert import upsert
from piko.text import excerpt

_LONGEST = 4000
_TRIES = 3
_AGAIN_S = 0.5
_LONGEST_NAME = 255

Facts = Mapping[str, object]


async def log_change(
    connection: AsyncConnection,
    actor: Actor,
    what: str,
    *,
    job_id: str | None,
    before: Facts | None = None,
    after: Facts | None = None,
) -> None:
    """Log a change within its transaction. `before` and `after` must hold no secrets; instants are aware."""
    row = _row(actor, what, job_id=job_id, before=before, after=after)
    await connection.execute(insert(change_log), [row])


async def insert_logged(
    database: Database, table: Table, row: Mapping[str, object], actor: Actor, what: str, *, logged: Facts
) -> None:
    """Insert one row and log it as what is there since, in one transaction.

    After a COMMIT that was cut off, the same inserts wait for its end, and change nothing if it succeeded.
    Raises `DatabaseUnavailableError` if that is still unknown after some tries.
    """
    change = _row(actor, what, job_id=str(row["job_id"]), before=None, after=logged)
    change["change_id"] = row[next(iter(table.primary_key)).name]  # so that a second try finds it, too
    for left in reversed(range(_TRIES)):
        try:
            async with database.transaction() as connection:
                await connection.execute(upsert(database, table, update=()), [row])
                await connection.execute(upsert(database, change_log, update=()), [change])
        except DatabaseUnavailableError:
            if not left:
                raise
            await asyncio.sleep(_AGAIN_S)
        else:
            return


class ChangeStore:
    """Forgets old changes."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def prune(self, before: datetime, fence: Fence, *, limit: int) -> int:
        """Delete at most `limit` changes that were made before `before`; how many. Raises `FencedError`."""
        ids = change_log.c.change_id
        oldest = select(ids, change_log.c.at).order_by(ids).limit(limit)
        async with self._database.statements() as connection:
            stale = [row.change_id for row in await connection.execute(oldest) if row.at < before]
        if not stale:
            return 0
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            return (await connection.execute(delete(change_log).where(ids.in_(stale)))).rowcount


def _row(
    actor: Actor, what: str, *, job_id: str | None, before: Facts | None, after: Facts | None
) -> dict[str, object]:
    clock = SystemClock()
    return {
        "change_id": Ids(clock).new(),
        "at": clock.now(),
        "who": actor.who[:_LONGEST_NAME],
        "via": actor.via,
        "what": what,
        "job_id": job_id,
        "before": _json(before),
        "after": _json(after),
        "reason": None if actor.reason is None else excerpt(actor.reason, limit=_LONGEST),
    }


def _json(facts: Facts | None) -> str | None:
    return None if facts is None else json.dumps(facts, ensure_ascii=False, default=_plain)


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return str(value)
