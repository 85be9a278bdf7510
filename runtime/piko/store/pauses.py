"""Pauses that end by themselves: `paused_until` of rows that SQL owns."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, or_, select, update

from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.store.audited_rows import audited_schedules
from piko.store.changes import log_change
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.held_rows import lock_free
from piko.store.schema.column_types import Now
from piko.store.schema.tables.schedules import scheduled_job

_COLUMNS = scheduled_job.c
_KEYS = [_COLUMNS.job_id, _COLUMNS.enabled, _COLUMNS.paused_until]


class PauseStore:
    """Ends what is over. The database's clock decides."""

    def __init__(self, *, database: Database) -> None:
        self._database = database
        self._audited = audited_schedules(database)

    async def end(self, fence: Fence, *, actor: Actor, limit: int) -> list[str]:
        """Resume at most `limit` schedules whose `paused_until` has come, and log it; their jobs.

        A row that somebody else has resumed loses its `paused_until`, so that the next pause lasts. A row
        that somebody holds waits for the next time. Raises `FencedError`.
        """
        some = select(_COLUMNS.job_id).where(_over()).order_by(_COLUMNS.paused_until).limit(limit)
        async with self._database.statements() as connection:
            found = list((await connection.execute(some)).scalars())
        if not found:
            return []
        resumed = []
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            rows = await lock_free(connection, _KEYS, and_(_COLUMNS.job_id.in_(sorted(found)), _over()))
            known = await self._audited.settle(connection, [row.job_id for row in rows])
            for row in rows:
                change = update(scheduled_job).where(_COLUMNS.job_id == row.job_id)
                if row.enabled:
                    await connection.execute(change.values(paused_until=None))
                    continue
                values = {"enabled": True, "paused_until": None, "version": _COLUMNS.version + 1}
                await connection.execute(change.values(values))
                before = {"enabled": False, "paused_until": row.paused_until}
                after = {"enabled": True, "paused_until": None}
                await log_change(connection, actor, "resume", job_id=row.job_id, before=before, after=after)
                resumed.append(row.job_id)
            await self._audited.log(connection, known, dict.fromkeys(known, actor), logged=False)
        return resumed


def _over() -> ColumnElement[bool]:
    """What has come, and what nobody waits for any more."""
    return and_(
        _COLUMNS.paused_until.is_not(None),
        _COLUMNS.managed_by.is_(None),
        or_(_COLUMNS.paused_until <= Now(), _COLUMNS.enabled.is_(True)),
    )
