"""Holds this replica's session lock, and watches those of the others: a shell around a `FailureDetector`.

All of it happens on one session, with a connection of its own:

- A **standby waits** for the lock of the leader, so it learns of the leader's end within milliseconds. When
  the wait ends it wakes the elector, whatever the reason: a leader that stops replaces its lock after it has
  released the lease.
- The **leader looks** at the locks of all instances, in one statement: four times a second if others live.
- Where a lock fell, either looks again until the detector's grace is over.

When the session breaks, the lock is first withdrawn in its row, through the pool, and then taken again on a
new connection: both say that this replica lives. If it cannot be taken, the row names no lock, and lease and
heartbeat decide about this replica as they would without locks; the log and a metric say so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.background.waiting import happens
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError, SessionLockError
from piko.leadership.failure_detector import FailureDetector
from piko.model.instances import Instance
from piko.model.session_locks import Look, SeenLock, SessionLock
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.session_locks import LockSession, SessionLockStore

_LOOK_S = 0.25
_LOOK_ALONE_S = 1.0
_LOOK_AGAIN_S = 0.1
_SETTLED_S = 5.0
_WITHDRAW_S = 2.0
_AGAIN = Backoff(first_s=0.02, longest_s=10.0)

log = get_logger(__name__)


class CrashWatch:
    """Keeps one session with a lock, for as long as it runs."""

    name = "crash_watch"

    def __init__(
        self,
        *,
        store: SessionLockStore,
        detector: FailureDetector,
        instance: Instance,
        leads: Callable[[], bool],
        wake: Sequence[Callable[[], None]],
        lost: Callable[[], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """Nothing connects before `run`.

        - `detector`: is shown every look.
        - `leads`: whether this replica leads now.
        - `wake`: called when an instance is presumed dead, and when the leader's lock is free.
        - `lost`: called when the lock of this replica fell, so that the others may presume it dead.
        """
        self._store = store
        self._detector = detector
        self._instance = instance
        self._leads = leads
        self._wake = wake
        self._lost = lost
        self._clock = clock
        self._metrics = metrics
        self._lock: SessionLock | None = None
        self._stir = asyncio.Event()
        self._replaces = False
        self._warned: str | None = None

    async def run(self) -> None:
        """Hold a session again and again, until cancelled."""
        refused = Transient(
            errors=(DatabaseUnavailableError, SessionLockError, TimeoutError),
            report=self._refused,
            backoff=_AGAIN,
        )
        await repeat(self._hold, pause_s=0.0, transient=[refused])

    def replace_lock(self) -> None:
        """Have the lock replaced by another one, which ends the waits of the others."""
        self._replaces = True
        self._stir.set()

    async def withdraw(self) -> None:
        """Say that this replica holds no lock. Raises `DatabaseUnavailableError`."""
        self._lock = None
        self._metrics.session_lock_held.set(0)
        await self._store.withdraw(self._instance.instance_id)

    # ---- one session ------------------------------------------------------------------------------

    async def _hold(self) -> None:
        """Hold one session until it breaks. Returns if it had lasted, so that the next follows at once."""
        began = self._clock.monotonic()
        try:
            async with self._store.session() as session:
                session.ended.add_done_callback(lambda _: self._stir.set())
                await self._take(session)
                while True:
                    await self._rest(session, await self._look(session))
        except (DatabaseUnavailableError, SessionLockError, TimeoutError) as error:
            self._detector.forget()
            if self._lock is not None:
                self._lost()
            await self._withdraw_at_once()
            if self._clock.monotonic() - began < _SETTLED_S:
                raise
            log.warning("session_lock_lost", error=str(error))

    async def _take(self, session: LockSession) -> None:
        lock = await session.take()
        await self._store.publish(self._instance.instance_id, lock)
        self._lock = lock
        self._metrics.session_lock_held.set(1)
        if self._warned is not None:
            log.info("session_lock_taken")
        self._warned = None

    async def _look(self, session: LockSession) -> Look:
        if self._replaces and self._lock is not None:
            self._replaces, before = False, self._lock
            await self._take(session)
            await session.release(before)
        asked_at = self._clock.monotonic()
        look = await session.look()
        answered_at = self._clock.monotonic()
        self._confirm(look.of(self._instance.instance_id))
        died = self._detector.see(look, now=answered_at, trip_s=answered_at - asked_at)
        for instance_id in died:
            self._metrics.crashes_seen.inc()
            log.warning("instance_presumed_dead", instance_id=instance_id, why="its session lock fell")
        if died:
            self._wake_others()
        if look.of(self._instance.instance_id) is None and self._lock is not None:
            await self._store.publish(self._instance.instance_id, self._lock)  # the row was deleted
        return look

    def _confirm(self, mine: SeenLock | None) -> None:
        if mine is not None and mine.lock == self._lock and not mine.held:
            raise SessionLockError(
                f"session {mine.lock.session_id} no longer holds its lock: something between this replica "
                "and the server shares sessions or resets them"
            )

    async def _rest(self, session: LockSession, look: Look) -> None:
        """Wait until there is something to see."""
        leader = look.leader
        if leader is not None and leader.held and not self._leads() and not self._replaces:
            if await session.wait(leader.lock):
                self._wake_others()
            return
        pause_s = _LOOK_S if len(look.locks) > 1 else _LOOK_ALONE_S
        self._stir.clear()
        if self._replaces or session.ended.done():
            self._stir.set()
        await happens(self._stir.wait(), within_s=_LOOK_AGAIN_S if self._detector.suspects else pause_s)
        if session.ended.done():
            raise DatabaseUnavailableError("the server or the network has ended the session")

    def _wake_others(self) -> None:
        for wake in self._wake:
            wake()

    async def _withdraw_at_once(self) -> None:
        """The quickest sign of life that there is, if the database can be reached at all."""
        try:
            async with asyncio.timeout(_WITHDRAW_S):
                await self.withdraw()
        except (DatabaseUnavailableError, TimeoutError):
            self._metrics.db_errors.labels(self.name).inc()

    def _refused(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        reason = str(error) or "no answer in time"
        if reason != self._warned:
            log.warning(
                "session_lock_not_held",
                error=reason,
                hint="a crash of this replica is noticed only by its lease and its heartbeat; "
                "it is tried again",
            )
        self._warned = reason
