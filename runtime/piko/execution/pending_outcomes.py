"""Outcomes that are not written yet: in memory, and on disk while the database is unavailable.

While the database works, nothing touches the disk. When it is unavailable, pending outcomes are copied to the
spool, so that they outlive this process, and beyond `bound` outcomes they are only there. Their order is
kept: the *ready* ones come first, then those that are only on disk, then those that arrived behind them and
are not on disk yet.

Outcomes of a job that the database refuses are set aside, and become ready again after a pause; all others
proceed.

If the disk fails too, memory is all there is. Then `failing` states why, and at `bound`
outcomes they are `full`: no new runs may start.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice

from piko.background.backoff import Backoff
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
_ASIDE = Backoff(first_s=5.0, longest_s=300.0)

log = get_logger(__name__)


@dataclass(slots=True, eq=False)
class Pending:
    """An outcome to be written; `number` is its number on disk, or None."""

    outcome: Outcome
    fence: OutcomeFence
    number: int | None = None
    written: bool = False
    refusals: int = 0
    """How often the database has refused it."""
    again_at: float = 0.0
    """When to try a refused outcome again, on the monotonic clock."""


class PendingOutcomes:
    """The outcomes that a ledger still has to write."""

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
        """Refused by the database, each until its `again_at`."""
        self._on_disk: dict[int, str] = {}
        """Outcomes that are only on disk: the run of each number."""
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
        """Whether memory is full and the disk does not work."""
        return self.failing is not None and self._in_memory >= self._bound

    @property
    def run_ids(self) -> set[str]:
        """Runs whose outcome is not written yet."""
        found = {item.outcome.run.run_id for item in (*self._ready, *self._behind, *self._aside)}
        return found.union(self._on_disk.values())

    def put(self, outcome: Outcome, fence: OutcomeFence) -> None:
        """Add an outcome. Never refused, because its run has ended."""
        item = Pending(outcome, fence)
        waits_behind = self._on_disk or self._behind or len(self._ready) >= self._bound
        (self._behind if waits_behind else self._ready).append(item)
        if self._away or waits_behind:
            self._start_spooling()

    # ---- to the database --------------------------------------------------------------------------

    async def refill(self) -> bool:
        """Make outcomes ready, if there are any to write now; returns whether there are."""
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
            else:  # the file was emptied by another process
                log.error("outcomes_lost", runs=sorted(self._on_disk.values()), path=str(self._spool.path))
                self._on_disk.clear()
        return bool(self._ready)

    def _restore_due(self) -> None:
        """Make the set-aside outcomes ready again whose pause is over."""
        if not self._aside:
            return
        moment = self._clock.monotonic()
        self._ready.extend(item for item in self._aside if item.again_at <= moment)
        self._aside = [item for item in self._aside if item.again_at > moment]

    def until_again(self) -> float | None:
        """Seconds until a set-aside outcome is to be tried again; None if there is none."""
        if not self._aside:
            return None
        return max(min(item.again_at for item in self._aside) - self._clock.monotonic(), 0.0)

    def set_aside(self, batch: list[Pending]) -> None:
        """Set aside a batch that the database refused, so that it holds up no other job."""
        self._away = False
        moment, refused = self._clock.monotonic(), {id(item) for item in batch}
        for item in batch:
            item.refusals += 1
            item.again_at = moment + _ASIDE.pause_s(item.refusals)
        self._ready = deque(item for item in self._ready if id(item) not in refused)
        self._aside.extend(batch)

    def next_batch(
        self, most: int, *, without: Collection[str] = ()
    ) -> tuple[OutcomeFence, list[Pending]] | None:
        """The next batch to write, with one outcome per run and one fence, without the jobs in `without`.

        One fence, because the fence is checked once per transaction. The earliest outcome of a run comes
        first, because only the first one counts. None if nothing else is ready.
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
        """Wrap a write to the database: one that hangs counts as a failure."""
        alarm = asyncio.get_running_loop().call_later(_PATIENCE_S, self.database_is_away)
        try:
            yield
        finally:
            alarm.cancel()

    def database_is_away(self) -> None:
        """Copy pending and further outcomes to disk from now on."""
        self._away = True
        self._start_spooling()

    def written(self, batch: list[Pending]) -> None:
        """Remove a batch that the database has recorded, or refused permanently."""
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
        """Update the disk until it is up to date."""
        while not self._closing and (self._stale or self._to_spool()):
            try:
                await self._remove_stale()
                await self._put_next()
            except SpoolError as error:
                self._fails(error)
                await asyncio.sleep(_AGAIN_S)
            else:
                self.failing = None
        self.failing = None  # the disk is not needed any more

    def _to_spool(self) -> list[Pending]:
        """Outcomes to put on disk, in the order of their arrival, so that numbers grow in that order."""
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
            if item.written:  # in the meantime
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
        """Put pending outcomes on disk for the next process. Call after the last `written`."""
        self._closing = True
        if self._spooling is not None and not self._spooling.done():
            # Wait for its end: a cancelled call continues in the file's thread, and its result would be lost.
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
            log.error("outcomes_lost", runs=runs, error=str(error) or "the disk does not respond")
        here = (*self._aside, *self._ready)
        if left := sum(item.number is not None for item in here) + len(self._on_disk):
            log.warning("outcomes_left_on_disk", outcomes=left, path=str(self._spool.path))
        try:
            await self._spool.close()
        except SpoolError as error:
            log.error("outcome_spool_not_closed", error=str(error))
