"""The queue of one sink, in three stretches: cached, on disk, in memory.

*Cached* intents are in the spool and have a copy here, so that they need not be read while the sink keeps up.
Behind them come intents that are only *on disk*, and last those that are only *in memory*. This is the order
in which they were enqueued, because intents in memory are moved to disk before newer ones are put there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from piko.errors import PayloadError
from piko.observability.logs import get_logger
from piko.persistence.codec import encode, weight
from piko.persistence.intent import WriteIntent
from piko.persistence.letter import Letter, within
from piko.persistence.sink_base import ResultSink
from piko.spool.intents import SpooledIntent
from piko.spool.spool import Spool

_CHUNK = 500
_PATIENCE_S = 5.0

log = get_logger(__name__)


class SinkQueue:
    """The queue of `sink`. `spool` opens the spool; `letters` decodes intents that were read from it.

    `named` says what a log event names intents by.
    """

    def __init__(
        self,
        sink: ResultSink,
        *,
        spool: Callable[[], Awaitable[Spool]],
        letters: Callable[[list[SpooledIntent]], Awaitable[list[Letter]]],
        named: Callable[[Iterable[WriteIntent]], dict[str, Any]],
    ) -> None:
        self._sink = sink
        self._spool = spool
        self._letters = letters
        self._named = named
        self._in_memory: deque[WriteIntent] = deque()
        self._cached: deque[Letter] = deque()
        self._on_disk = 0
        self._cursor = 0
        self._withdrawn: set[int] = set()
        """Ids beyond the cursor on disk that have left the queue, because their delivery is in progress."""
        self._moving = 0
        """How many moves to the spool are in progress: meanwhile, what is put there is read from there."""
        self._reading = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._space = asyncio.Event()

    def __len__(self) -> int:
        return len(self._in_memory) + len(self._cached) + self._on_disk

    # ---- in ----------------------------------------------------------------------------------------

    @property
    def in_memory(self) -> int:
        """Intents that are only in memory."""
        return len(self._in_memory)

    @property
    def full(self) -> bool:
        return self.in_memory >= self._sink.queue_size

    def put(self, intent: WriteIntent) -> None:
        """Put an intent into memory; the caller has checked that there is space."""
        self._in_memory.append(intent)
        if not self._arrived.is_set():
            self._arrived.set()

    def put_back(self, letters: Sequence[Letter]) -> None:
        """Return letters that were not delivered to the front of the queue; those on disk are still there."""
        self._in_memory.extendleft(letter.intent for letter in reversed(letters) if letter.number is None)

    async def change(self) -> None:
        """Wait until there may be space, or `wake` is called."""
        self._space.clear()
        await self._space.wait()

    def wake(self) -> None:
        """Make all waiters for an intent or for space check again."""
        self._arrived.set()
        self._space.set()

    def put_spooled(self, letters: Sequence[tuple[SpooledIntent, WriteIntent | None]]) -> None:
        """Append intents that are in the spool, with copies of those that were cheap to copy.

        Behind an intent that has to be read from disk, all are read from disk, so that the order is kept.
        """
        cached = [Letter(copy, kept.id, len(kept.body)) for kept, copy in letters if copy is not None]
        space = self._sink.queue_size - len(self._cached)
        if self._on_disk or self._moving or len(cached) < len(letters) or len(letters) > space:
            self.note_on_disk(len(letters))
            return
        self._cached.extend(cached)
        self._pass(letters[-1][0].id)
        self._arrived.set()

    def note_on_disk(self, count: int) -> None:
        """Append `count` intents that have to be read from the spool."""
        self._on_disk += count
        self._arrived.set()

    # ---- out ---------------------------------------------------------------------------------------

    async def arrival(self) -> None:
        """Wait until the queue is not empty, or `wake` is called."""
        if not len(self):
            self._arrived.clear()
            await self._arrived.wait()

    async def next(self) -> list[Letter]:
        """The next batch; empty if nothing waits. Raises `SpoolError`."""
        if self._cached:
            return self._from_cache()
        if self._on_disk:
            return await self._from_disk()
        return self._from_memory()

    def _from_cache(self) -> list[Letter]:
        first = [letter for letter, _ in zip(self._cached, range(self._sink.batch_size), strict=False)]
        return [self._cached.popleft() for _ in range(within(first, self._sink.batch_bytes))]

    def _from_memory(self) -> list[Letter]:
        batch: list[Letter] = []
        total = 0
        while self._in_memory and len(batch) < self._sink.batch_size:
            total += weight(self._in_memory[0].payload)
            if total > self._sink.batch_bytes and batch:
                break
            batch.append(Letter(self._in_memory.popleft()))
        if not self.full:
            self._space.set()
        return batch

    async def _from_disk(self) -> list[Letter]:
        async with self._reading:
            kept: list[SpooledIntent] = []
            while self._on_disk and not kept:
                spool = await self._spool()
                found = await spool.fetch(self._sink.name, after=self._cursor, limit=self._sink.batch_size)
                if not found:
                    self._on_disk = 0
                    break
                found = _within(found, self._sink.batch_bytes)
                kept = [item for item in found if item.id not in self._withdrawn]
                self._pass(found[-1].id)
                self._on_disk = max(self._on_disk - len(kept), 0)  # some may not be noted yet
        return await self._letters(kept) if kept else []

    def _pass(self, number: int) -> None:
        """Advance the cursor: intents on disk up to `number` have left the queue or are cached."""
        self._cursor = number
        if self._withdrawn:
            self._withdrawn = {item for item in self._withdrawn if item > number}

    # ---- to disk -----------------------------------------------------------------------------------

    async def to_disk(self) -> int:
        """Move intents that are only in memory to the spool; returns how many. Raises `SpoolError`.

        An intent that cannot be encoded, because it was changed after it was enqueued, stays in memory.
        """
        moved = 0
        self._moving += 1
        try:
            while self._in_memory:
                moved += await self._move(min(_CHUNK, len(self._in_memory)))
        finally:
            self._moving -= 1
        return moved

    async def replay(self, letter_ids: Sequence[str]) -> int:
        """Append dead letters, which the spool moves behind what is there; how many. Raises `SpoolError`."""
        spool = await self._spool()
        self._moving += 1
        try:
            moved = await spool.replay(letter_ids)
            self.note_on_disk(moved)
        finally:
            self._moving -= 1
        return moved

    async def _move(self, count: int) -> int:
        letters = [Letter(self._in_memory.popleft()) for _ in range(count)]
        try:
            numbers = await self._put(letters)
        except BaseException:
            self.put_back(letters)
            raise
        self.note_on_disk(len(numbers))
        self._cached.extend(letter for letter in letters if letter.number is None)
        self._space.set()
        return len(numbers)

    async def keep(self, letters: Sequence[Letter]) -> None:
        """Put letters that have left the queue into the spool, if they can be encoded.

        Raises `SpoolError`.
        """
        self._withdrawn.update(await self._put(letters))

    async def _put(self, letters: Sequence[Letter]) -> list[int]:
        bodies: list[tuple[Letter, str]] = []
        for letter in letters:
            if letter.number is not None:
                continue
            try:
                bodies.append((letter, encode(letter.intent, self._sink.models)))
            except PayloadError as error:
                named = self._named([letter.intent])
                log.error("intent_in_memory_only", sink=self._sink.name, **named, error=str(error))
        if not bodies:
            return []
        putting = asyncio.create_task(self._put_bodies(bodies), name=f"spill {self._sink.name}")
        try:
            return await asyncio.shield(putting)
        except asyncio.CancelledError:  # the file's thread continues: the next caller has to know the result
            await asyncio.wait({putting}, timeout=_PATIENCE_S)
            if putting.done() and not putting.cancelled():
                putting.exception()  # retrieved: what was not written is put again
            raise

    async def _put_bodies(self, bodies: Sequence[tuple[Letter, str]]) -> list[int]:
        spool = await self._spool()
        numbers = await spool.put([(self._sink.name, body) for _, body in bodies])
        for (letter, body), number in zip(bodies, numbers, strict=True):
            letter.number, letter.size = number, len(body)
        return numbers

    @property
    def loose(self) -> list[Letter]:
        """Letters that are only in memory."""
        cached = [letter for letter in self._cached if letter.number is None]
        return [*cached, *map(Letter, self._in_memory)]


def _within(kept: list[SpooledIntent], limit: int) -> list[SpooledIntent]:
    """As many of `kept` as fit into `limit` characters together; at least one."""
    total = 0
    for at, item in enumerate(kept):
        total += len(item.body)
        if total > limit and at:
            return kept[:at]
    return kept
