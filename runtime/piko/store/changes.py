"""`change_log`: written in the transaction of the change, so that neither is there without the other.

A line is bounded, whatever was changed: so many facts, each so long.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Table, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.clock import SystemClock
from piko.errors import DatabaseUnavailableError
from piko.identity import OrderedIds
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.row_edits import RowEdit
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.tables.changes import change_log
from piko.store.upsert import insert_rows, upsert
from piko.text import excerpt, instant_text

_LONGEST = 4000
_TRIES = 3
_AGAIN_S = 0.5
_LONGEST_NAME = 255
_MOST_FACTS, _LONGEST_FACT, _LONGEST_KEY, _MOST_BYTES = 40, 1000, 200, 16_000

_ids = OrderedIds(SystemClock())

Facts = Mapping[str, object]
RowLine = tuple[Actor, str, RowEdit, datetime | None]
"""Who edited the row of which job, how, and when; None: now."""


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


async def insert_changes(connection: AsyncConnection, lines: Iterable[RowLine]) -> None:
    """Log edits of rows within the transaction that makes or finds them."""
    rows = []
    for actor, job_id, edit, at in lines:
        row = _row(actor, edit.what, job_id=job_id, before=edit.before, after=edit.after)
        rows.append(row if at is None else {**row, "at": at})
    await insert_rows(connection, change_log, rows)


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
        return await self._drop(stale, fence)

    async def next_job(self, after: str) -> str | None:
        """The first job after `after` of which there is a change; None: there is no further one."""
        jobs = change_log.c.job_id
        async with self._database.statements() as connection:
            following = select(jobs).where(jobs > after).order_by(jobs).limit(1)
            return (await connection.execute(following)).scalar()

    async def prune_job(self, job_id: str, fence: Fence, *, keep: int, limit: int) -> int:
        """Delete at most `limit` changes of a job that are older than its newest `keep`; how many.

        Raises `FencedError`.
        """
        ids, of_it = change_log.c.change_id, change_log.c.job_id == job_id
        newest = select(ids).where(of_it).order_by(ids.desc()).offset(keep).limit(1)
        async with self._database.statements() as connection:
            last = (await connection.execute(newest)).scalar()
            if last is None:
                return 0
            stale = select(ids).where(of_it, ids <= last).order_by(ids).limit(limit)
            doomed = list((await connection.execute(stale)).scalars())
        return await self._drop(doomed, fence)

    async def _drop(self, doomed: Sequence[str], fence: Fence) -> int:
        if not doomed:
            return 0
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            found = delete(change_log).where(change_log.c.change_id.in_(doomed))
            return (await connection.execute(found)).rowcount


def _row(
    actor: Actor, what: str, *, job_id: str | None, before: Facts | None, after: Facts | None
) -> dict[str, object]:
    return {
        "change_id": _ids.new(),
        "at": SystemClock().now(),
        "who": excerpt(actor.who, limit=_LONGEST_NAME),
        "via": actor.via,
        "what": what,
        "job_id": job_id,
        "before": _json(before),
        "after": _json(after),
        "reason": None if actor.reason is None else excerpt(actor.reason, limit=_LONGEST),
    }


def _json(facts: Facts | None) -> str | None:
    if facts is None:
        return None
    shown: dict[str, object] = {}
    size = 0
    for name, value in facts.items():
        key, fact = excerpt(name, limit=_LONGEST_KEY), _bounded(value)
        size += len(json.dumps({key: fact}, ensure_ascii=False).encode())
        if len(shown) == _MOST_FACTS or size > _MOST_BYTES:
            shown["…"] = f"{len(facts) - len(shown)} more"
            break
        shown[key] = fact
    return json.dumps(shown, ensure_ascii=False)


def _bounded(value: object) -> object:
    """`value` as JSON holds it, or the beginning and the end of its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, str):
        return excerpt(value, limit=_LONGEST_FACT)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return (
        value
        if len(text) <= _LONGEST_FACT and isinstance(value, dict | list)
        else excerpt(text, limit=_LONGEST_FACT)
    )
