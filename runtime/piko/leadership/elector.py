"""Who may act: the elector.

Replicas of one name compete for a lease. The one that holds it leads, under an epoch that the database
made when it took over. Three standings:

- `FOLLOWER`: another replica leads, or nobody does yet.
- `LEADER`: the lease is ours and was renewed in time.
- `SUSPENDED`: it was ours, but could not be renewed in time. Nothing new is claimed. Handlers go on: if
  nobody took over meanwhile, the next renewal succeeds under the same epoch and all goes on as it was;
  else this replica has been deposed, and the fence refuses what it would still write.

The deadline is counted on the monotonic clock from before the renewal was sent, so it is never later than
the expiry that the database wrote down.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import StrEnum

from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.instances import Instance
from piko.store.leases import Fence, LeaseStore

_LOOK_S = 0.5
_SOON_S = 0.05

log = get_logger(__name__)


class Standing(StrEnum):
    FOLLOWER = "standby"
    LEADER = "leader"
    SUSPENDED = "suspended"


class Elector:
    """Keeps `standing` and `fence` true for one replica."""

    name = "elector"

    def __init__(
        self,
        *,
        leases: LeaseStore,
        instance: Instance,
        clock: Clock,
        metrics: Metrics,
        lease_name: str,
        lease_s: float,
        renew_interval_s: float,
        compete: bool = True,
    ) -> None:
        self._leases = leases
        self._instance = instance
        self._clock = clock
        self._metrics = metrics
        self._lease_name = lease_name
        self._lease_s = lease_s
        self._renew_interval_s = renew_interval_s
        self._take_by_force = not compete
        self._changed = asyncio.Event()
        self._deadline = 0.0
        self._unsure = False
        self.standing = Standing.FOLLOWER
        self.fence: Fence | None = None
        self.leader_host: str | None = None
        metrics.leader.labels(instance.host).set(0)

    @property
    def acting(self) -> Fence | None:
        """The fence to claim under now; None where this replica must not claim."""
        if self.standing is Standing.LEADER and self._clock.monotonic() < self._deadline:
            return self.fence
        return None

    async def wait_for_change(self) -> None:
        """Return at the next change of standing."""
        await self._changed.wait()

    async def run(self) -> None:
        """Compete, renew, notice the end; until cancelled."""
        while True:
            if self.fence is None:
                await self._try_to_lead()
            else:
                await self._renew()
            await asyncio.sleep(self._pause())

    async def release(self) -> None:
        """Step down for good and let another replica take over at once; after `run` has ended."""
        fence, self.fence = self.fence, None
        self._become(Standing.FOLLOWER)
        if fence is not None or self._unsure:
            await self._leases.release(self._lease_name, holder=self._instance.instance_id)
            self._unsure = False
            log.info("leadership_released", epoch=None if fence is None else fence.epoch)

    def deposed(self, fence: Fence) -> None:
        """Another part was refused by the fence: `fence` is over, whatever the last renewal said."""
        if self.fence == fence:
            self._lose("fenced")

    async def _try_to_lead(self) -> None:
        before = self._clock.monotonic()
        self._unsure = True  # until the answer is there, we may hold it
        try:
            async with asyncio.timeout(self._lease_s):
                epoch = await self._leases.acquire(
                    self._lease_name,
                    holder=self._instance.instance_id,
                    host=self._instance.host,
                    lease_s=self._lease_s,
                    force=self._take_by_force,
                )
        except (DatabaseUnavailableError, TimeoutError) as error:
            self._metrics.db_errors.labels(self.name).inc()
            log.warning("lease_not_read", error=str(error) or "no answer in time", lease=self._lease_name)
            return
        self._unsure = False
        if epoch is None:
            return
        # Once: two replicas that both insist would depose each other for ever.
        self._take_by_force = False
        self.fence = Fence(name=self._lease_name, epoch=epoch)
        self._deadline = before + self._lease_s
        self._become(Standing.LEADER)
        log.info("leadership_acquired", epoch=epoch, lease=self._lease_name)

    async def _renew(self) -> None:
        fence = self.fence
        assert fence is not None
        before = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._patience(before)):
                kept = await self._leases.renew(
                    fence, holder=self._instance.instance_id, lease_s=self._lease_s
                )
        except (DatabaseUnavailableError, TimeoutError) as error:
            self._metrics.db_errors.labels(self.name).inc()
            log.warning("lease_not_renewed", error=str(error) or "no answer in time", epoch=fence.epoch)
            self._notice_deadline(fence)
            return
        if self.fence != fence:  # refused meanwhile
            return
        if not kept:
            self._lose("another replica holds the lease")
            return
        self._deadline = before + self._lease_s
        if self.standing is not Standing.LEADER:
            log.info("leadership_resumed", epoch=fence.epoch)
            self._become(Standing.LEADER)

    def _patience(self, now: float) -> float:
        """How long a renewal may hang: so that another try comes in time, and the deadline is noticed."""
        patience = max(self._renew_interval_s / 2, 1.0)
        left = self._deadline - now
        return min(patience, max(left, _SOON_S)) if left > 0 else patience

    def _notice_deadline(self, fence: Fence) -> None:
        if (
            self.fence == fence
            and self.standing is Standing.LEADER
            and self._clock.monotonic() >= self._deadline
        ):
            log.error("leadership_suspended", epoch=fence.epoch)
            self._become(Standing.SUSPENDED)

    def _lose(self, reason: str) -> None:
        log.error("leadership_lost", epoch=self.fence.epoch if self.fence else None, reason=reason)
        self.fence = None
        self._become(Standing.FOLLOWER)

    def _become(self, standing: Standing) -> None:
        if standing is self.standing:
            return
        self.standing = standing
        self._metrics.leader.labels(self._instance.host).set(1 if standing is Standing.LEADER else 0)
        self._metrics.leader_transitions.inc()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _pause(self) -> float:
        if self.fence is None:
            return min(_LOOK_S, self._renew_interval_s)
        left = self._deadline - self._clock.monotonic()
        healthy = left > self._lease_s - self._renew_interval_s
        pause = self._renew_interval_s if healthy else min(1.0, self._renew_interval_s / 5)
        return min(pause, max(left, _SOON_S)) if left > 0 else pause


async def leadership(elector: Elector) -> Fence:
    """Wait until this replica may act."""
    while (fence := elector.acting) is None:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LOOK_S):
                await elector.wait_for_change()
    return fence
