"""The election: `Elector` is the shell around a `Candidacy`.

Replicas of one name compete for a lease. The one that holds it leads, under an epoch that the database
created when the lease was acquired. Writes of the leader carry the epoch as a fence, so correctness never
depends on the lease alone: a leader that is paused past its deadline and resumes is refused by the database,
not by its own clock.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Protocol

from prometheus_client import Counter, Gauge

from piko.background.periodic import repeat
from piko.background.waiting import happens
from piko.clock import Clock
from piko.errors import LeaseUnavailableError, RowsLockedError, TransientError
from piko.leadership.candidacy import Candidacy, Standing
from piko.leadership.failure_detector import FailureDetector
from piko.leadership.lease import Lease
from piko.leadership.timekeeper import Timekeeper
from piko.model.fences import Fence
from piko.model.instances import Instance
from piko.model.leases import NOBODY
from piko.observability.logs import get_logger

_LOOK_S = 0.5
_JITTER = 0.2

log = get_logger(__name__)


class ElectionMetrics(Protocol):
    """What an elector counts and shows: the metrics of the runtime, or of the operator."""

    leader: Gauge
    leader_transitions: Counter
    lease_errors: Counter
    db_errors: Counter
    leads: Callable[[], bool]


class Elector:
    """Keeps `standing` and `fence` true for one replica."""

    name = "elector"

    def __init__(
        self,
        *,
        lease: Lease,
        lease_name: str,
        instance: Instance,
        clock: Clock,
        metrics: ElectionMetrics,
        timekeeper: Timekeeper | None = None,
        detector: FailureDetector | None = None,
        compete: bool = True,
    ) -> None:
        self._lease = lease
        self._lease_name = lease_name
        self._instance = instance
        self._clock = clock
        self._metrics = metrics
        self._timekeeper = timekeeper
        self._detector = detector
        self._acquire_by_force = not compete
        self._sooner = asyncio.Event()
        self._candidacy = Candidacy(lease.terms)
        self._changed = asyncio.Event()
        self._unsure = False
        self.has_looked = False
        """Whether the lease has been read since the start."""
        # Computed at each scrape: a replica that is kept from renewing cannot reset a stored gauge.
        metrics.leader.labels(instance.host).set_function(lambda: 0 if self.acting is None else 1)
        metrics.leads = lambda: self.acting is not None

    @property
    def standing(self) -> Standing:
        return self._candidacy.standing

    @property
    def fence(self) -> Fence | None:
        """The fence of the current or last leadership, until another replica has taken over."""
        return self._candidacy.fence

    @property
    def acting(self) -> Fence | None:
        """The fence to claim under now; None if this replica must not claim."""
        return self._candidacy.acting(self._clock.monotonic())

    @property
    def trouble(self) -> str | None:
        """Why this replica cannot take part in the election; None if it can. May be read from any thread."""
        if self.fence is not None and self.acting is None:
            return "the leader's lease could not be renewed in time; nothing is claimed"
        if self._candidacy.in_doubt:
            return "its session with the database broke, and the lease has not been renewed since"
        blind_s = self._candidacy.blind_for(self._clock.monotonic())
        return f"the lease has not been read for {blind_s:.0f} s; it could not take over" if blind_s else None

    def was_blind(self) -> None:
        """Note that the lease was unreadable before the start, so that an expired lease proves nothing."""
        self._candidacy.unheard(asked_at=self._clock.monotonic())

    async def wait_for_change(self) -> None:
        """Return at the next change of standing."""
        await self._changed.wait()

    async def news(self) -> None:
        """Return at the next change of standing, or after a moment, because a deadline passes silently."""
        await happens(self._changed.wait(), within_s=_LOOK_S)

    async def run(self) -> None:
        """Compete for the lease and renew it, until cancelled."""
        await repeat(self._act, pause_s=self._pause_s, wake=self._sooner)

    def look_sooner(self) -> None:
        """Look at the lease now instead of after the pause, unless this replica holds it."""
        if self.fence is None:
            self._sooner.set()

    def doubt(self) -> None:
        """Note that the others may presume this replica dead.

        If it leads, it asks at once whether it still does; `trouble` says so until the answer has come.
        """
        self._candidacy.doubted(self._clock.monotonic())
        if self.fence is not None:
            self._sooner.set()

    async def release(self) -> None:
        """Step down and let another replica take over at once. Call after `run` has ended."""
        fence, before = self.fence, self.standing
        self._candidacy.lost()
        self._signal_change(before)
        if fence is not None or self._unsure:
            await self._lease.release()
            self._unsure = False
            log.info("leadership_released", epoch=None if fence is None else fence.epoch)

    async def close(self) -> None:
        """Close the connections of the lease. Call after `release`."""
        await self._lease.close()

    def deposed(self, fence: Fence) -> None:
        """Note that the database refused a write under `fence`: that leadership has ended."""
        if self.fence == fence:
            self._lose("fenced")

    async def _act(self) -> None:
        if self.fence is None:
            await self._try_to_lead()
        else:
            await self._renew()

    def _pause_s(self) -> float:
        # Jitter, so that followers do not all try at once.
        jitter = 1.0 if self.fence is not None else 1 + _JITTER * random.random()  # noqa: S311 - no secret
        return self._candidacy.pause(self._clock.monotonic()) * jitter

    async def _try_to_lead(self) -> None:
        asked_at = self._clock.monotonic()
        self._unsure = True  # until the answer arrives, this replica may hold the lease
        try:
            async with asyncio.timeout(self._candidacy.patience(asked_at)):
                await self._measure()  # before leading, because due times follow the database's clock
                patient = self._candidacy.patient(asked_at)
                dead = NOBODY if patient or self._detector is None else self._detector.presumed_dead
                epoch = await self._lease.acquire(force=self._acquire_by_force, patient=patient, dead=dead)
        except RowsLockedError as error:  # it was read; a transaction of the previous leader is still open
            self._count(error)
            self._candidacy.heard(self._clock.monotonic())
            log.warning("lease_locked", error=str(error), lease=self._lease_name)
            return
        except (TransientError, TimeoutError) as error:
            self._count(error)
            if self._candidacy.unheard(asked_at=asked_at):
                log.warning("lease_not_read", error=str(error) or "no answer in time", lease=self._lease_name)
            return
        self._unsure, self.has_looked = False, True
        if self._candidacy.heard(self._clock.monotonic()):
            log.info("lease_read_again", lease=self._lease_name)
        if epoch is None:
            return
        # Only once: two replicas that both use force would depose each other forever.
        self._acquire_by_force = False
        before = self.standing
        self._candidacy.won(Fence(name=self._lease_name, epoch=epoch), asked_at=asked_at)
        self._signal_change(before)
        log.info("leadership_acquired", epoch=epoch, lease=self._lease_name)

    async def _renew(self) -> None:
        fence = self.fence
        assert fence is not None
        asked_at = self._clock.monotonic()
        try:
            async with asyncio.timeout(self._candidacy.patience(asked_at)):
                kept = await self._lease.renew(fence)
        except (TransientError, TimeoutError) as error:
            self._count(error)
            log.warning("lease_not_renewed", error=str(error) or "no answer in time", epoch=fence.epoch)
            if self.fence == fence:
                before = self.standing
                self._candidacy.unanswered(self._clock.monotonic())
                if self.standing is not before:
                    log.error("leadership_suspended", epoch=fence.epoch)
                self._signal_change(before)
            return
        if self.fence != fence:  # deposed in the meantime
            return
        if not kept:
            self._lose("another replica holds the lease")
            return
        before = self.standing
        self._candidacy.renewed(asked_at=asked_at)
        if before is Standing.SUSPENDED:
            log.info("leadership_resumed", epoch=fence.epoch)
        self._signal_change(before)
        await self._measure_again()

    async def _measure(self) -> None:
        if self._timekeeper is not None and self._timekeeper.is_due:
            await self._timekeeper.measure()

    async def _measure_again(self) -> None:
        """Measure the clock after a renewal.

        If that fails, the lease is still renewed and the last value stays.
        """
        try:
            async with asyncio.timeout(self._candidacy.patience(self._clock.monotonic())):
                await self._measure()
        except (TransientError, TimeoutError) as error:
            self._count(error)

    def _lose(self, reason: str) -> None:
        log.error("leadership_lost", epoch=self.fence.epoch if self.fence else None, reason=reason)
        before = self.standing
        self._candidacy.lost()
        self._signal_change(before)

    def _signal_change(self, before: Standing) -> None:
        """Wake the waiters if the standing has changed."""
        if self.standing is before:
            return
        self._metrics.leader_transitions.inc()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _count(self, error: Exception) -> None:
        if isinstance(error, LeaseUnavailableError):
            self._metrics.lease_errors.inc()
        else:
            self._metrics.db_errors.labels(self.name).inc()


async def leadership(elector: Elector) -> Fence:
    """Wait until this replica may act."""
    while (fence := elector.acting) is None:
        await elector.news()
    return fence
