"""Holding a fence: until the transaction ends, the right to write cannot be taken away.

A fence is a row that is read with a shared lock before anything is written. A replica that takes over the
leadership updates that row, and so waits for the writes in flight; every later write under the old epoch is
refused.
"""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.errors import FencedError
from piko.model.fences import Fence, InstanceFence, OutcomeFence
from piko.store.schema.tables.replicas import leader_lease, runtime_instance


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
