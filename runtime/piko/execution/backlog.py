"""Outcomes that are not written yet: in memory, and on disk where the database stays away.

In good times nothing touches the disk. When the database is away, what is pending is copied to the spool, so
that it outlives this process; and beyond `bound` outcomes it is there alone. The order stays: `at hand` comes
first, then what is on disk alone, then what arrived behind that and has yet to get there.

What the database refuses of one job is set aside, and is at hand again after a pause; everything else goes
on.

Where the disk refuses, memory is all there is. Then `failing` says why, and at `bound` the backlog is `full`:
who could start new runs has to leave it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from piko.clock import Clock, SystemClock
from piko.errors import SpoolError
from piko.model.fences import OutcomeFence
from piko.model.runs import Outcome
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.spool.outcomes import Account, OutcomeSpool

BOUND = 10_000
_CHUNK = 500
_PATIENCE_S = 2.0
_AGAIN_S = 1.0
_CLOSE_S = 5.0
_ASIDE_S = 5.0
_LONGEST_ASIDE_S = 300.0

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class Pending:
    """An outcome on its way; `number` where it lies on disk, too."""

    outcome: Outcome
    fence: OutcomeFence
    number: int | None = None
    written: bool = False
    refusals: int = 0
    """How often the database has refused it."""
    again_at: float = 0.0
    """When to try again, on the monotonic clock, where it was refused."""


class Backlog:
    """What a ledger has yet to write."""

    def __init__(
        self, *, spool: OutcomeSpool, metrics: Metrics, clock: Clock | None = None, bound: int = BOUND
    ) -> None:
        self._spool = spool
        self._clock = clock or SystemClock()
        self._metrics = metrics
        self._bound = bound
        self._ready: deque[Pending] = deque()
        self._behind: deque[Pending] = deque()
        self._aside: list[Pending] = []
        """Refused by the database, each for a while."""
        self._on_disk: dict[int, str] = {}
        """On disk alone: the run of each number."""
        self._read_to = 0
        self._stale: list[int] = []
        self._away = False
        self._closing = False
        self._spooling: asyncio.Task[None] | None = None
        self.failing: str | None = None
        metrics.outcomes_pending.set_function(lambda: len(self))

    def __len__(self) -> int:
        return self._in_memory + len(self._on_disk)

    @property
    def _in_memory(self) -> int:
        return len(self._ready) + len(self._behind) + len(self._aside)

    @property
    def full(self) -> bool:
        """Whether memory is, and the disk takes nothing."""
        return self.failing is not None and self._in_memory >= self._bound

    @property
    def run_ids(self) -> set[str]:
        """Runs whose end is not written yet."""
        found = {item.outcome.run.run_id for item in (*self._ready, *self._behind, *self._aside)}
        return found.union(self._on_disk.values())

    def put(self, outcome: Outcome, fence: OutcomeFence) -> None:
        """Take an outcome, whatever there is already: its run is over."""
        item = Pending(outcome, fence)
        waits_behind = self._on_disk or self._behind or len(self._ready) >= self._bound
        (self._behind if waits_behind else self._ready).append(item)
        if self._away or waits_behind:
            self._start_spooling()

    # ---- to the database --------------------------------------------------------------------------

    async def refill(self) -> bool:
        """Have something at hand, if there is anything that is to be written now."""
        self._restore_due()
        while not self._ready and (self._on_disk or self._behind):
            if not self._on_disk:
                while self._behind and len(self._ready) < self._bound:
                    self._ready.append(self._behind.popleft())
                break
            try:
                kept = await self._spool.fetch(after=self._read_to, limit=_CHUNK)
            except SpoolError as error:
                self._fails(error)
                await asyncio.sleep(_AGAIN_S)
                continue
            for number, body, account in kept:
                if self._on_disk.pop(number, None) is None:
                    continue
                if account is None:
                    log.error("outcome_unreadable", path=str(self._spool.path), body=body)
                    continue
                self._ready.append(Pending(account.outcome, account.fence, number))
            if kept:
                self._read_to = kept[-1].number
            else:  # somebody has emptied the file
                log.error("outcomes_lost", runs=sorted(self._on_disk.values()), path=str(self._spool.path))
                self._on_disk.clear()
        return bool(self._ready)

    def _restore_due(self) -> None:
        """Have at hand again what was set aside for long enough."""
        if not self._aside:
            return
        moment = self._clock.monotonic()
        self._ready.extend(item for item in self._aside if item.again_at <= moment)
        self._aside = [item for item in self._aside if item.again_at > moment]

    def until_again(self) -> float | None:
        """Seconds until something that was set aside is to be tried again."""
        if not self._aside:
            return None
        return max(min(item.again_at for item in self._aside) - self._clock.monotonic(), 0.0)

    def set_aside(self, batch: list[Pending]) -> None:
        """The database has refused `batch`: its jobs' trouble, and no one else's."""
        self._away = False
        moment, refused = self._clock.monotonic(), {id(item) for item in batch}
        for item in batch:
            item.refusals += 1
            item.again_at = moment + min(_ASIDE_S * 2 ** min(item.refusals - 1, 10), _LONGEST_ASIDE_S)
        self._ready = deque(item for item in self._ready if id(item) not in refused)
        self._aside.extend(batch)

    def next_batch(
        self, most: int, *, without: Collection[str] = ()
    ) -> tuple[OutcomeFence, list[Pending]] | None:
        """What is written next: of one title, of each run what was told first, nothing of jobs of `without`.

        None where nothing else is at hand.
        """
        free = (item for item in self._ready if item.outcome.run.job_id not in without)
        chosen = list(islice(free, most))
        if not chosen:
            return None
        fence = chosen[0].fence
        first: dict[str, Pending] = {}
        for item in chosen:
            if item.fence == fence:
                first.setdefault(item.outcome.run.run_id, item)
        return fence, list(first.values())

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Around a write to the database: one that hangs is as bad as one that fails."""
        alarm = asyncio.get_running_loop().call_later(_PATIENCE_S, self.database_is_away)
        try:
            yield
        finally:
            alarm.cancel()

    def database_is_away(self) -> None:
        """Copy to disk what is pending and what comes."""
        self._away = True
        self._start_spooling()

    def written(self, batch: list[Pending]) -> None:
        """The database has taken `batch`, or refused it for good."""
        self._away = False
        for item in batch:
            item.written = True
            if item.number is not None:
                self._stale.append(item.number)
        self._ready = deque(item for item in self._ready if not item.written)
        if self._stale:
            self._start_spooling()

    # ---- to the disk ------------------------------------------------------------------------------

    def _start_spooling(self) -> None:
        if self._spooling is None or self._spooling.done():
            self._spooling = asyncio.create_task(self._work_off(), name="outcomes to disk")

    async def _work_off(self) -> None:
        """Bring the disk up to date, until there is nothing to bring."""
        while not self._closing and (self._stale or self._to_spool()):
            try:
                await self._remove_stale()
                await self._put_next()
            except SpoolError as error:
                self._fails(error)
                await asyncio.sleep(_AGAIN_S)
            else:
                self.failing = None
        self.failing = None  # nothing needs the disk any more

    def _to_spool(self) -> list[Pending]:
        """What has to get to disk, in order: so that numbers grow as outcomes came."""
        if not (self._away or self._behind):
            return []
        return [item for item in (*self._aside, *self._ready, *self._behind) if item.number is None]

    async def _put_next(self) -> None:
        items = self._to_spool()[:_CHUNK]
        if not items:
            return
        numbers = await self._spool.put([Account(outcome=item.outcome, fence=item.fence) for item in items])
        for item, number in zip(items, numbers, strict=True):
            item.number = number
            if item.written:  # meanwhile
                self._stale.append(number)
        self._metrics.outcomes_spooled.inc(len(items))
        while self._behind and (first := self._behind[0].number) is not None:
            if not self._on_disk:
                self._read_to = first - 1
            self._on_disk[first] = self._behind.popleft().outcome.run.run_id

    async def _remove_stale(self) -> None:
        stale = self._stale[:]
        if stale:
            await self._spool.remove(stale)
            del self._stale[: len(stale)]

    def _fails(self, error: SpoolError) -> None:
        self.failing = str(error)
        self._metrics.outcome_spool_errors.inc()
        log.error("outcomes_not_spooled", in_memory=self._in_memory, full=self.full, error=self.failing)

    async def close(self) -> None:
        """Leave on disk what is pending, for the next process; after the last `written`."""
        self._closing = True
        if self._spooling is not None and not self._spooling.done():
            # To its end: a call that is cancelled goes on in the file's thread, and nobody hears what it did.
            await asyncio.wait({self._spooling}, timeout=_CLOSE_S)
            self._spooling.cancel()
        self._away = True
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._remove_stale()
                while self._to_spool():
                    await self._put_next()
        except (SpoolError, TimeoutError) as error:
            runs = [item.outcome.run.run_id for item in self._to_spool()]
            log.error("outcomes_lost", runs=runs, error=str(error) or "the disk does not answer")
        here = (*self._aside, *self._ready)
        if left := sum(item.number is not None for item in here) + len(self._on_disk):
            log.warning("outcomes_left_on_disk", outcomes=left, path=str(self._spool.path))
        try:
            await self._spool.close()
        except SpoolError as error:
            log.error("outcome_spool_not_closed", error=str(error))
