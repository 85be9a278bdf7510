"""One sink's way through the writer: its queue, its batches, its failures.

A batch that fails is tried again after a pause that doubles. When it keeps failing, its records are written
one by one. If some of them are taken, the refused ones are to blame: they become dead letters. If none is
taken, the sink is to blame: everything is kept, and is tried again after the longest pause.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from piko.clock import Clock
from piko.errors import PayloadError, SpoolError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.persistence.codec import decode, encode, weight
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import ResultSink
from piko.store.spool import Kept, Spool

_PROBES = 8
"""How many records a sink may refuse, having taken none, before it is the one to blame."""

_T = TypeVar("_T")

log = get_logger(__name__)


class _Letter(NamedTuple):
    """An intent on its way; `kept` where it lies in the spool."""

    intent: WriteIntent
    kept: Kept | None = None


class Lane:
    """Delivers the intents of one sink."""

    def __init__(
        self, sink: ResultSink, *, spool: Callable[[], Awaitable[Spool]], clock: Clock, metrics: Metrics
    ) -> None:
        self.sink = sink
        self._spool = spool
        self._clock = clock
        self._metrics = metrics
        self._queue: deque[WriteIntent] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._at_hand: deque[_Letter] = deque()
        self._on_disk = 0
        self._cursor = 0
        self._taking = asyncio.Lock()
        self._in_flight = 0
        self._hurry = False
        self._moved = asyncio.Event()
        self.failing: str | None = None

    def __len__(self) -> int:
        """Intents that are not delivered yet, in memory and on disk."""
        return len(self._queue) + len(self._at_hand) + self._on_disk + self._in_flight

    # ---- in ----------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return len(self._queue) >= self.sink.queue_size

    def put(self, intent: WriteIntent) -> None:
        """Take an intent into memory; the caller has seen that there is room."""
        self._queue.append(intent)
        if not self._arrived.is_set():
            self._arrived.set()

    async def room(self) -> None:
        """Wait until the queue has room."""
        while self.full:
            self._room.clear()
            await self._room.wait()

    def put_spooled(self, letters: Sequence[tuple[Kept, WriteIntent | None]]) -> None:
        """More intents of this sink lie in the spool, with copies of them where there are any.

        While the sink keeps up, copies save reading them again. Behind one that has to be read all are read,
        so that the order stays.
        """
        at_hand = [_Letter(copy, kept) for kept, copy in letters if copy is not None]
        room = self.sink.queue_size - len(self._at_hand)
        if self._on_disk or len(at_hand) < len(letters) or len(letters) > room:
            self.note_on_disk(len(letters))
            return
        self._at_hand.extend(at_hand)
        self._cursor = letters[-1][0].id
        self._arrived.set()

    def note_on_disk(self, count: int) -> None:
        """`count` more intents of this sink lie in the spool, to be read from there."""
        self._on_disk += count
        self._arrived.set()

    # ---- out ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.sink.concurrency):
                group.create_task(self._work())

    def hurry(self) -> None:
        """Batches need not fill up any more: the writer stops."""
        self._hurry = True
        self._arrived.set()

    async def spill(self) -> int:
        """Move what is in memory to the spool; how many. Raises `SpoolError`."""
        intents = list(self._queue)
        if not intents:
            return 0
        spool = await self._spool()
        await spool.put([(self.sink.name, encode(intent)) for intent in intents])
        for _ in intents:
            self._queue.popleft()
        self._metrics.persistence_spilled.labels(self.sink.name).inc(len(intents))
        return len(intents)

    async def _work(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                await self._deliver(batch)
            except asyncio.CancelledError:
                # Unknown whether the sink has it: what was only in memory is delivered again.
                self._queue.extendleft(letter.intent for letter in reversed(batch) if letter.kept is None)
                raise
            finally:
                self._in_flight -= len(batch)
                self._count()

    async def _next_batch(self) -> list[_Letter]:
        while True:
            if not (self._queue or self._at_hand or self._on_disk):
                self._arrived.clear()
                await self._arrived.wait()
            waiting = len(self._queue) + len(self._at_hand) + self._on_disk
            if not self._hurry and waiting < self.sink.batch_size:
                await asyncio.sleep(self.sink.linger_s)
            batch = self._from_memory() or self._from_hand() or await self._from_disk()
            if batch:
                self._count()
                return batch

    def _from_memory(self) -> list[_Letter]:
        batch: list[_Letter] = []
        total = 0
        while self._queue and len(batch) < self.sink.batch_size:
            total += weight(self._queue[0].payload)
            if total > self.sink.batch_bytes and batch:
                break
            batch.append(_Letter(self._queue.popleft()))
        self._in_flight += len(batch)
        if not self.full:
            self._room.set()
        return batch

    def _from_hand(self) -> list[_Letter]:
        batch: list[_Letter] = []
        total = 0
        while self._at_hand and len(batch) < self.sink.batch_size:
            kept = self._at_hand[0].kept
            total += 0 if kept is None else len(kept.body)
            if total > self.sink.batch_bytes and batch:
                break
            batch.append(self._at_hand.popleft())
        self._in_flight += len(batch)
        return batch

    async def _from_disk(self) -> list[_Letter]:
        async with self._taking:
            if not self._on_disk:
                return []
            spool = await self._spool()
            kept = await spool.take(self.sink.name, after=self._cursor, limit=self.sink.batch_size)
            if not kept:
                self._on_disk = 0
                return []
            kept = _within(kept, self.sink.batch_bytes)
            self._cursor = kept[-1].id
            self._on_disk -= len(kept)
            self._in_flight += len(kept)
        letters = []
        models = self.sink.models
        for item in kept:
            try:
                letters.append(_Letter(decode(self.sink.name, item.body, models), item))
            except (PayloadError, ValueError) as error:
                await spool.bury(item, self.sink.name, str(error))
                self._bury(str(error))
                self._in_flight -= 1
        return letters

    async def _deliver(self, batch: list[_Letter]) -> None:
        self._metrics.persistence_batch_size.labels(self.sink.name).observe(len(batch))
        pause, tries = self.sink.backoff_s, 0
        while batch:
            error = await self._try(batch)
            if error is None:
                await self._delivered(batch)
                return
            tries += 1
            self.failing = error
            log.warning("sink_failed", sink=self.sink.name, intents=len(batch), tries=tries, error=error)
            if tries >= self.sink.attempts and len(batch) > 1:
                batch = await self._one_by_one(batch)
                tries = 0
            if batch:
                await asyncio.sleep(pause)
                pause = min(pause * 2, self.sink.max_backoff_s)

    async def _one_by_one(self, batch: list[_Letter]) -> list[_Letter]:
        """What is left of `batch`: all of it where the sink takes nothing, else nothing."""
        refused: list[tuple[_Letter, str]] = []
        taken: list[_Letter] = []
        halves = [batch[: len(batch) // 2], batch[len(batch) // 2 :]]
        while halves:
            part = halves.pop(0)
            error = await self._try(part)
            if error is None:
                taken.extend(part)
                await self._delivered(part)
            elif len(part) == 1:
                refused.append((part[0], error))
                if not taken and len(refused) >= _PROBES:
                    rest = [letter for half in halves for letter in half]
                    return [*(letter for letter, _ in refused), *rest]
            else:
                halves[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]
        if not taken:
            return [letter for letter, _ in refused]
        for letter, error in refused:
            await self._bury_letter(letter, error)
        return []

    async def _try(self, batch: Sequence[_Letter]) -> str | None:
        """Write once; the error, or None."""
        try:
            async with asyncio.timeout(self.sink.timeout_s):
                await self.sink.write_batch([letter.intent for letter in batch])
        except TimeoutError:
            error = f"no answer within timeout_s = {self.sink.timeout_s:g}"
        except Exception as failure:  # noqa: BLE001 - a sink's failure is its own, whatever it is
            error = f"{type(failure).__name__}: {failure}"
        else:
            self.failing = None
            return None
        self._metrics.persistence_sink_failures.labels(self.sink.name).inc()
        return error[:4000]

    async def _delivered(self, batch: Sequence[_Letter]) -> None:
        self._metrics.persistence_intents.labels(self.sink.name, "delivered").inc(len(batch))
        ids = [letter.kept.id for letter in batch if letter.kept is not None]
        if ids:
            await self._insist(lambda spool: spool.remove(ids))

    async def _bury_letter(self, letter: _Letter, error: str) -> None:
        kept = letter.kept
        if kept is None:
            try:
                body = encode(letter.intent)
            except PayloadError as unkeepable:
                log.error(
                    "dead_letter_lost", sink=self.sink.name, key=letter.intent.key, error=str(unkeepable)
                )
                self._bury(error)
                return
            (number,) = await self._insist(lambda spool: spool.put([(self.sink.name, body)]))
            kept = Kept(id=number, body=body)
        final = kept
        await self._insist(lambda spool: spool.bury(final, self.sink.name, error))
        self._bury(error)

    def _bury(self, error: str) -> None:
        self._metrics.persistence_dead_letters.labels(self.sink.name).inc()
        log.error("dead_letter", sink=self.sink.name, error=error)

    async def _insist(self, work: Callable[[Spool], Awaitable[_T]]) -> _T:
        """Use the spool until it works: a full disk may be freed."""
        while True:
            try:
                return await work(await self._spool())
            except SpoolError as error:
                self.failing = str(error)
                log.error("spool_failed", sink=self.sink.name, error=str(error))
            await asyncio.sleep(1.0)

    async def emptied(self) -> None:
        """Wait until everything is delivered."""
        while len(self):
            self._moved.clear()
            await self._moved.wait()

    def _count(self) -> None:
        self._moved.set()
        self._metrics.persistence_waiting(self.sink.name, len(self))


def _within(kept: list[Kept], limit: int) -> list[Kept]:
    """As many as have `limit` characters together, and at least one."""
    total = 0
    for at, item in enumerate(kept):
        total += len(item.body)
        if total > limit and at:
            return kept[:at]
    return kept
