"""Leadership as a row: the lease, its epoch, and the fence that every write of a leader passes.

The row of `leader_lease` grows its `epoch` by one with each change of leader. A leader's transaction reads
that row with a shared lock before it commits (`piko.store.fences`): a takeover, which updates the row, waits
for commits in flight, and every later one of the old leader sees the new epoch and is refused. Expiry is
decided by the database's clock, so that wrong clocks of replicas do not matter.

A lease that is released leaves the runs of its holder alone: it drains them under the epoch it had. One that
is taken from its holder takes the runs as well: the same transaction writes that epoch to the holder's row in
`runtime_instance`, where the holder's outcomes look (`InstanceFence`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.fences import Fence
from piko.model.leases import NOBODY, LeaseRow
from piko.store.engine import Database
from piko.store.schema.column_types import Now, SecondsFromNow
from piko.store.schema.tables.replicas import leader_lease, runtime_instance
from piko.store.upsert import upsert


class LeaseStore:
    """The lease rows."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def read(self, name: str) -> LeaseRow | None:
        async with self._database.statements() as connection:
            row = (await connection.execute(select(leader_lease).where(leader_lease.c.name == name))).first()
        return None if row is None else _lease(row)

    async def now(self, monotonic: Callable[[], float]) -> tuple[float, datetime, float]:
        """The database's time, and the seconds of `monotonic` right before and after it was asked for."""
        async with self._database.statements() as connection:
            asked_at = monotonic()
            moment = (await connection.execute(select(Now().label("now")))).scalar_one()
            return asked_at, moment, monotonic()

    async def acquire(
        self,
        name: str,
        *,
        holder: str,
        host: str,
        lease_s: float,
        force: bool = False,
        patient: bool = False,
        dead: Mapping[str, datetime] = NOBODY,
    ) -> int | None:
        """Take the lease if it is free or expired; the new epoch, or None.

        A lease of `holder` itself counts as free: its earlier try was cut off and worked.

        - `name`, `lease_s`: which lease, and for how long.
        - `holder`, `host`: the instance that takes it.
        - `force`: in any case.
        - `patient`: leave one alone that has expired.
        - `dead`: instances whose lease counts as free, unless it was renewed after the given instant.
        """
        if not force and not await self._looks_free(name, holder, patient=patient, dead=dead):
            return None
        async with self._database.transaction() as connection:
            # Made if it is not there yet; and locked, so that only one candidate at a time reads on.
            await connection.execute(
                upsert(self._database, leader_lease, update=()), {"name": name, "epoch": 0}
            )
            locked = await _locked(connection, name)
            if locked is None:  # deleted by hand in this very moment
                return None
            now, lease = locked
            if not (force or lease.may_be_taken(now, by=holder, patient=patient, dead=dead)):
                return None
            epoch = lease.epoch + 1
            if lease.holder not in (None, holder):
                await connection.execute(
                    update(runtime_instance)
                    .where(runtime_instance.c.instance_id == lease.holder)
                    .values(fenced_epoch=lease.epoch)
                )
            await connection.execute(
                update(leader_lease)
                .where(leader_lease.c.name == name)
                .values(
                    epoch=epoch,
                    holder=holder,
                    holder_host=host,
                    acquired_at=now,
                    renewed_at=now,
                    expires_at=now + timedelta(seconds=lease_s),
                )
            )
            return epoch

    async def renew(self, fence: Fence, *, holder: str, lease_s: float) -> bool:
        """Prolong the lease; False when another has it.

        One statement: writes of the leader that look at the fence never wait for a round trip of a renewal.
        """
        columns = leader_lease.c
        statement = (
            update(leader_lease)
            .where(columns.name == fence.name, columns.holder == holder, columns.epoch == fence.epoch)
            .values(renewed_at=Now(), expires_at=SecondsFromNow(lease_s))
        )
        async with self._database.single_writes() as connection:
            return (await connection.execute(statement)).rowcount > 0

    async def release(self, name: str, *, holder: str) -> None:
        """Give the lease up if `holder` has it, so that another replica need not wait for it to expire."""
        async with self._database.transaction() as connection:
            await connection.execute(
                update(leader_lease)
                .where(leader_lease.c.name == name, leader_lease.c.holder == holder)
                .values(holder=None, holder_host=None, expires_at=Now())
            )

    async def _looks_free(
        self, name: str, holder: str, *, patient: bool, dead: Mapping[str, datetime]
    ) -> bool:
        # Without locks: candidates that wait must not queue up behind the leader's own writes.
        async with self._database.statements() as connection:
            statement = select(leader_lease, Now().label("now")).where(leader_lease.c.name == name)
            row = (await connection.execute(statement)).first()
        return row is None or _lease(row).may_be_taken(row.now, by=holder, patient=patient, dead=dead)


async def _locked(connection: AsyncConnection, name: str) -> tuple[datetime, LeaseRow] | None:
    """The database's time and the lease, locked until the transaction ends."""
    statement = select(leader_lease, Now().label("now")).where(leader_lease.c.name == name)
    row = (await connection.execute(statement.with_for_update())).first()
    return None if row is None else (row.now, _lease(row))


def _lease(row: Row[Any]) -> LeaseRow:
    return LeaseRow(
        name=row.name,
        epoch=row.epoch,
        holder=row.holder,
        holder_host=row.holder_host,
        expires_at=row.expires_at,
        renewed_at=row.renewed_at,
    )
