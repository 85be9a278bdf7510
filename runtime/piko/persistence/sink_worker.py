"""The delivery of one sink's intents: batches in order, while the sink accepts them.

Intents of a `memory` sink do not touch the disk while the sink works. From its first failed try on, or once a
write is overdue, the batch and the queue behind it are moved to the spool, and new intents go there too until
the sink works again. `SinkTrouble` finds out what a failure means: whether the sink is down, or which records
are bad.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from piko.clock import Clock
from piko.errors import SpoolError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.persistence.delivery import Delivery, Refused, WriteFailure
from piko.persistence.intent import WriteIntent
from piko.persistence.letter import Letter, SecretsOf
from piko.persistence.queue import SinkQueue
from piko.persistence.sink_base import ResultSink
from piko.persistence.sink_trouble import SinkTrouble
from piko.spool.intents import SpooledIntent
from piko.spool.spool import Spool
from piko.tracing.traces import Traces

_NOT_ENCODABLE = "it was changed after it was enqueued"

log = get_logger(__name__)


class SinkWorker:
    """Delivers the intents of one sink."""

    def __init__(
        self,
        sink: ResultSink,
        *,
        spool: Callable[[], Awaitable[Spool]],
        refused: Refused,
        secrets_of: SecretsOf,
        traces: Traces,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.sink = sink
        self.models = sink.models
        self._delivery = Delivery(
            sink,
            spool=spool,
            secure=self._secure,
            refused=refused,
            secrets_of=secrets_of,
            traces=traces,
            clock=clock,
            metrics=metrics,
        )
        self._queue = SinkQueue(sink, spool=spool, letters=self._delivery.letters, named=self._delivery.named)
        metrics.persistence_memory.labels(sink.name).set_function(lambda: self._queue.in_memory)
        metrics.persistence_memory_limit.labels(sink.name).set(sink.queue_size)
        self._spilled = metrics.persistence_spilled.labels(sink.name)
        self._recovered = metrics.persistence_recovered.labels(sink.name)
        self._troubled = 0
        self._calm = asyncio.Event()
        self._calm.set()
        self._handling = asyncio.Lock()
        self._hurried = asyncio.Event()
        self._securing = asyncio.Lock()

    def __len__(self) -> int:
        """Intents that are not delivered yet, in memory and on disk."""
        return self._delivery.waiting

    @property
    def failing(self) -> str | None:
        """The last error of a sink that fails or hangs now."""
        return self._delivery.failing

    @property
    def failing_since(self) -> datetime | None:
        """Since when it does."""
        return self._delivery.failing_since

    @property
    def abandoned(self) -> int:
        """Writes that continue although they were cancelled."""
        return self._delivery.abandoned

    # ---- in ----------------------------------------------------------------------------------------

    @property
    def keeps_on_disk(self) -> bool:
        """Whether intents have to be put on disk now."""
        return self.sink.durability == "spooled" or self._troubled > 0 or self._delivery.overdue > 0

    @property
    def full(self) -> bool:
        return self._queue.full

    def put(self, intent: WriteIntent) -> None:
        """Put an intent into memory; the caller has checked that there is space."""
        self._queue.put(intent)
        self._delivery.accept(1)

    async def change(self) -> None:
        """Wait until there may be space in memory, or intents have to be put on disk."""
        await self._queue.change()

    async def secured(self) -> None:
        """Wait until earlier intents are on disk, so that the next ones are put there behind them."""
        async with self._securing:
            pass

    def put_spooled(self, letters: Sequence[tuple[SpooledIntent, WriteIntent | None]]) -> None:
        """Append intents that are in the spool, with copies of those that were cheap to copy."""
        self._delivery.accept(len(letters))
        self._queue.put_spooled(letters)

    def adopt(self, count: int) -> None:
        """Append `count` intents that earlier processes left in the spool."""
        self._delivery.find(count)
        self._queue.note_on_disk(count)
        self._recovered.inc(count)

    async def replay(self, letter_ids: Sequence[str]) -> None:
        """Append dead letters of this sink, to be delivered again. Raises `SpoolError`."""
        self._delivery.find(await self._queue.replay(letter_ids))

    # ---- out ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self.sink.concurrency):
                group.create_task(self._work())

    def hurry(self) -> None:
        """Send incomplete batches at once and keep pauses short, because the writer is stopping."""
        self._hurried.set()
        self._queue.wake()

    async def emptied(self) -> None:
        """Wait until everything is delivered."""
        while len(self):
            self._delivery.moved.clear()
            await self._delivery.moved.wait()

    async def _work(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                refusal = await self._delivery.attempt(batch)
            except asyncio.CancelledError:
                self._queue.put_back(batch)  # the sink may have it: it is delivered again
                raise
            if refusal is not None:
                await self._overcome(batch, refusal)

    async def _next_batch(self) -> list[Letter]:
        while True:
            await self._queue.arrival()
            if not self._hurried.is_set() and len(self._queue) < self.sink.batch_size:
                await asyncio.sleep(self.sink.linger_s)
            await self._calm.wait()
            batch = await self._delivery.patiently(self._queue.next)
            if batch:
                return batch

    async def _overcome(self, batch: list[Letter], refusal: WriteFailure) -> None:
        with self._in_trouble():
            await self._secure(batch)
            async with self._handling:
                trouble = SinkTrouble(
                    self.sink,
                    delivery=self._delivery,
                    queue=self._queue,
                    secure=self._secure,
                    hurried=self._hurried,
                )
                await trouble.overcome(batch, refusal)
                self._delivery.recover()

    @contextmanager
    def _in_trouble(self) -> Iterator[None]:
        self._troubled += 1
        self._calm.clear()
        self._queue.wake()  # callers that wait for space write to disk instead
        try:
            yield
        finally:
            self._troubled -= 1
            if not self._troubled:
                self._calm.set()

    # ---- to disk -----------------------------------------------------------------------------------

    async def _secure(self, letters: Sequence[Letter]) -> None:
        """Put all intents that are only in memory on disk: `letters`, others in progress, the queue."""
        loose = self._delivery.loose
        loose.update({id(letter): letter for letter in letters if letter.number is None})
        if not loose and self.sink.durability == "spooled":
            return
        try:
            async with self._securing:
                await self._keep_all()
        except SpoolError as error:
            log.error("spool_failed", sink=self.sink.name, in_memory=len(self), error=str(error))

    async def _keep_all(self) -> None:
        loose = self._delivery.loose
        if loose:
            letters = list(loose.values())
            await self._queue.keep(letters)
            kept = [letter for letter in letters if letter.number is not None]
            for letter in kept:
                loose.pop(id(letter), None)
            self._spilled.inc(len(kept))
        self._spilled.inc(await self._queue.to_disk())

    async def settle(self) -> None:
        """Put undelivered intents on disk after `run` has ended; log those that cannot be kept there."""
        try:
            await self._keep_all()
            if unkept := self._left():
                await self._delivery.bury_now([(letter, _NOT_ENCODABLE) for letter in unkept])
        except (SpoolError, asyncio.CancelledError) as error:
            left = self._left()
            named = self._delivery.named(letter.intent for letter in left)
            why = str(error) or "the disk does not respond"
            log.error("intents_lost", sink=self.sink.name, intents=len(left), **named, error=why)
            if isinstance(error, asyncio.CancelledError):
                raise
        if left_on_disk := self._delivery.waiting - len(self._left()):
            log.info("intents_left_on_disk", sink=self.sink.name, intents=left_on_disk)

    def _left(self) -> list[Letter]:
        """Letters that are only in memory."""
        return [*self._delivery.loose.values(), *self._queue.loose]
