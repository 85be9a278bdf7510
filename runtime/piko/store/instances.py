"""`runtime_instance`: which processes there are, and whether they still live."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.errors import FencedError
from piko.store.column_types import Now
from piko.store.engine import Database
from piko.store.tables import runtime_instance

HEARTBEATS = 3
"""An instance that was not heard of for as many heartbeats is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One start of one process. A restart under an old pod name is another instance."""

    instance_id: str
    app: str
    host: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceFence:
    """An instance's title to the runs that it began under `epoch`: it may record how they ended.

    The title outlives a leadership that was released, and ends with one that was taken away.
    """

    instance_id: str
    epoch: int

    async def hold(self, connection: AsyncConnection) -> None:
        """Keep the title from being taken away until the transaction ends.

        Raises `FencedError` when it has been taken away, or nothing is known of the instance.
        """
        statement = select(runtime_instance.c.fenced_epoch).where(
            runtime_instance.c.instance_id == self.instance_id
        )
        if connection.dialect.name != "sqlite":  # there BEGIN IMMEDIATE has locked everything
            statement = statement.with_for_update(read=True)
        row = (await connection.execute(statement)).first()
        if row is None:
            raise FencedError(
                f"instance {self.instance_id} has no row in runtime_instance (any more): what it ran has "
                "been given up, nothing was written"
            )
        if row.fenced_epoch is not None and row.fenced_epoch >= self.epoch:
            raise FencedError(
                f"instance {self.instance_id} lost its leadership of epoch {row.fenced_epoch} to another "
                f"replica: what it began under epoch {self.epoch} is no longer its own, nothing was written"
            )


class InstanceStore:
    """The instances' rows; all times are the database's."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def beat(self, instance: Instance) -> None:
        """Say that `instance` lives; its first beat makes its row."""
        async with self._database.transaction() as connection:
            alive = await connection.execute(
                update(runtime_instance)
                .where(runtime_instance.c.instance_id == instance.instance_id)
                .values(heartbeat_at=Now(), stopped_at=None)
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
                    )
                )

    async def stop(self, instance: Instance) -> None:
        """Say that `instance` ended cleanly."""
        async with self._database.transaction() as connection:
            await connection.execute(
                update(runtime_instance)
                .where(runtime_instance.c.instance_id == instance.instance_id)
                .values(stopped_at=Now())
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

    async def prune(self, *, older_than_s: float) -> None:
        """Forget instances that have been silent for long."""
        async with self._database.transaction() as connection:
            now = await _now(connection)
            await connection.execute(
                runtime_instance.delete().where(
                    runtime_instance.c.heartbeat_at < now - timedelta(seconds=older_than_s)
                )
            )


async def _now(connection: AsyncConnection) -> datetime:
    return (await connection.execute(select(Now().label("now")))).scalar_one()
