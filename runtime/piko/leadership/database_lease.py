"""The lease as a row of `leader_lease`, with the database's clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from piko.leadership.lease import Terms
from piko.model.fences import Fence
from piko.model.instances import Instance
from piko.model.leases import NOBODY
from piko.store.leases import LeaseStore

_LOOK_S = 0.3


class DatabaseLease:
    """A lease that is acquired, renewed and expired only in the database."""

    def __init__(
        self, *, rows: LeaseStore, name: str, instance: Instance, lease_s: float, renew_interval_s: float
    ) -> None:
        self._rows = rows
        self._name = name
        self._instance = instance
        self._lease_s = lease_s
        look_s = min(_LOOK_S, renew_interval_s)
        self.terms = Terms(valid_s=lease_s, renew_every_s=renew_interval_s, look_every_s=look_s)

    async def acquire(
        self, *, force: bool, patient: bool = False, dead: Mapping[str, datetime] = NOBODY
    ) -> int | None:
        return await self._rows.acquire(
            self._name,
            holder=self._instance.instance_id,
            host=self._instance.host,
            lease_s=self._lease_s,
            force=force,
            patient=patient,
            dead=dead,
        )

    async def renew(self, fence: Fence) -> bool:
        return await self._rows.renew(fence, holder=self._instance.instance_id, lease_s=self._lease_s)

    async def release(self) -> None:
        await self._rows.release(self._name, holder=self._instance.instance_id)

    async def close(self) -> None:
        """Do nothing: the caller that opened the database closes it."""
