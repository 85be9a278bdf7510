"""`runtime_instance`: which processes there are, and whether they still live."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.instances import Instance, StartMark
from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.dead_letters import dead_letter
from piko.store.schema.tables.replicas import runtime_instance, session_lock

HEARTBEATS = 3
"""An instance that missed that many heartbeats is considered dead."""


class InstanceStore:
    """The instances' rows; all times are the database's."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def beat(self, instance: Instance, *, trouble: str | None = None, sinks: str | None = None) -> None:
        """Say that `instance` lives, its troubles and how its sinks are; its first beat makes its row."""
        async with self._database.single_writes() as connection:
            alive = await connection.execute(
                update(runtime_instance)
                .where(runtime_instance.c.instance_id == instance.instance_id)
                .values(heartbeat_at=Now(), stopped_at=None, trouble=trouble, sinks=sinks)
            )
            if alive.rowcount == 0:
                await connection.execute(
                    runtime_instance.insert().values(
                        instance_id=instance.instance_id,
                        app=instance.app,
                        host=instance.host,
                        pid=instance.pid,
                        version=instance.version,
                        started_at=Now(),
                        heartbeat_at=Now(),
                        trouble=trouble,
                        sinks=sinks,
                    )
                )

    async def stop(self, instance: Instance) -> None:
        """Say that `instance` ended cleanly."""
        async with self._database.transaction() as connection:
            await connection.execute(
                update(runtime_instance)
                .where(runtime_instance.c.instance_id == instance.instance_id)
                .values(stopped_at=Now(), trouble=None, sinks=None)
            )

    async def living(self, *, within_s: float) -> dict[str, int]:
        """Instances that have not stopped and were heard of within `within_s` seconds.

        Each with the epoch up to which its runs were taken from it; 0: none were.
        """
        async with self._database.statements() as connection:
            now = await _now(connection)
            rows = await connection.execute(
                select(runtime_instance.c.instance_id, runtime_instance.c.fenced_epoch).where(
                    runtime_instance.c.stopped_at.is_(None),
                    runtime_instance.c.heartbeat_at > now - timedelta(seconds=within_s),
                )
            )
            return {row.instance_id: row.fenced_epoch or 0 for row in rows}

    async def mark_starts(self, instance_id: str, *, epoch: int, until: datetime) -> bool:
        """Say that the instance may start runs claimed ahead under `epoch` up to `until`.

        False where it may not: they were taken from it, or it has no row any more.
        """
        fenced = runtime_instance.c.fenced_epoch
        statement = (
            update(runtime_instance)
            .where(runtime_instance.c.instance_id == instance_id, or_(fenced.is_(None), fenced < epoch))
            .values(starts_until=until)
        )
        async with self._database.single_writes() as connection:
            return (await connection.execute(statement)).rowcount > 0

    async def start_marks(self, instance_ids: Collection[str]) -> dict[str, StartMark]:
        """The start mark of each of `instance_ids` that has a row, whether it lives or not."""
        columns = runtime_instance.c
        statement = select(
            columns.instance_id, columns.starts_until, columns.fenced_epoch, columns.stopped_at
        ).where(columns.instance_id.in_(sorted(instance_ids)))
        async with self._database.statements() as connection:
            return {
                row.instance_id: StartMark(
                    starts_until=row.starts_until,
                    fenced_epoch=row.fenced_epoch,
                    stopped=row.stopped_at is not None,
                )
                for row in await connection.execute(statement)
            }

    async def prune(self, *, older_than_s: float) -> None:
        """Forget instances that have been silent for long, and the dead letters that they listed."""
        async with self._database.transaction() as connection:
            now = await _now(connection)
            silent = runtime_instance.c.heartbeat_at < now - timedelta(seconds=older_than_s)
            ids = select(runtime_instance.c.instance_id).where(silent)
            for table in (session_lock, dead_letter):
                await connection.execute(delete(table).where(table.c.instance_id.in_(ids)))
            await connection.execute(delete(runtime_instance).where(silent))


async def _now(connection: AsyncConnection) -> datetime:
    return (await connection.execute(select(Now().label("now")))).scalar_one()
