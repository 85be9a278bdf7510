"""Holding a fence: until the transaction ends, the right to write cannot be taken away.

A fence is a row that is read with a shared lock before the COMMIT. A replica that takes over the leadership
updates that row, and so waits for the commits in flight; every later one under the old epoch is refused.

The row is also that of the lease, or of heartbeat and start mark, whose writers wait for that lock. So a
transaction of several statements looks at it late, most of them last (`fenced`): what it has written until
then nobody has seen, and is undone where the right has passed to somebody else. On a database that takes half
a second for a statement, the others wait for half a second, and not for as long as a batch takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.errors import FencedError
from piko.model.fences import Fence, InstanceFence, OutcomeFence
from piko.store.engine import Database
from piko.store.schema.tables.replicas import leader_lease, runtime_instance


@asynccontextmanager
async def fenced(database: Database, fence: OutcomeFence) -> AsyncIterator[AsyncConnection]:
    """A transaction that is committed only by the right that `fence` gives.

    Raises `FencedError` at its end where that has been taken away, and nothing was written; errors as in
    `Database.transaction`.
    """
    async with database.transaction() as connection:
        yield connection
        await hold(connection, fence)


async def hold(connection: AsyncConnection, fence: OutcomeFence) -> None:
    """Keep the right that `fence` gives until the transaction ends.

    Raises `FencedError` where it has been taken away.
    """
    if isinstance(fence, Fence):
        await _hold_leadership(connection, fence)
    else:
        await _hold_runs(connection, fence)


async def _hold_leadership(connection: AsyncConnection, fence: Fence) -> None:
    statement = select(leader_lease.c.epoch).where(leader_lease.c.name == fence.name)
    if connection.dialect.name != "sqlite":  # there BEGIN IMMEDIATE has locked everything
        statement = statement.with_for_update(read=True)
    epoch = (await connection.execute(statement)).scalar_one_or_none()
    if epoch != fence.epoch:
        raise FencedError(
            f"leadership {fence.name!r} is at epoch {epoch}, this replica acts under {fence.epoch}: "
            "another replica leads now, nothing was written"
        )


async def _hold_runs(connection: AsyncConnection, fence: InstanceFence) -> None:
    statement = select(runtime_instance.c.fenced_epoch).where(
        runtime_instance.c.instance_id == fence.instance_id
    )
    if connection.dialect.name != "sqlite":
        statement = statement.with_for_update(read=True)
    row = (await connection.execute(statement)).first()
    if row is None:
        raise FencedError(
            f"instance {fence.instance_id} has no row in runtime_instance (any more): what it ran has "
            "been given up, nothing was written"
        )
    if row.fenced_epoch is not None and row.fenced_epoch >= fence.epoch:
        raise FencedError(
            f"instance {fence.instance_id} lost its leadership of epoch {row.fenced_epoch} to another "
            f"replica: what it began under epoch {fence.epoch} is no longer its own, nothing was written"
        )
