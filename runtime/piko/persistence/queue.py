"""What waits for one sink: at hand, on disk, in memory.

At hand is what lies in the spool and has a copy here, so that it need not be read again while the sink keeps
up; behind it comes what is on disk alone; and last what is in memory alone. In this order it was enqueued,
for what is in memory goes to disk before anything is put there behind it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence

from piko.errors import PayloadError
from piko.observability.logs import get_logger
from piko.persistence.codec import encode, weight
from piko.persistence.intent import WriteIntent
from piko.persistence.letter import Letter, facts, within
from piko.persistence.sink_base import ResultSink
from piko.spool.intents import Spool, SpooledIntent

_CHUNK = 500
_PATIENCE_S = 5.0

log = get_logger(__name__)


class SinkQueue:
    """`spool` opens the spool; `letters` makes letters of what was read there."""

    def __init__(
        self,
        sink: ResultSink,
        *,
        spool: Callable[[], Awaitable[Spool]],
        letters: Callable[[list[SpooledIntent]], Awaitable[list[Letter]]],
    ) -> None:
        self._sink = sink
        self._spool = spool
        self._letters = letters
        self._in_memory: deque[WriteIntent] = deque()
        self._at_hand: deque[Letter] = deque()
        self._on_disk = 0
        self._cursor = 0
        self._elsewhere: set[int] = set()
        """Behind the cursor on disk, but out of the queue: somebody delivers them."""
        self._moving = False
        self._taking = asyncio.Lock()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._in_memory) + len(self._at_hand) + self._on_disk

    # ---- in ----------------------------------------------------------------------------------------

    @property
    def full(self) -> bool:
        return len(self._in_memory) >= self._sink.queue_size

    def put(self, intent: WriteIntent) -> None:
        """Take an intent into memory; the caller has seen that there is room."""
        self._in_memory.append(intent)
        if not self._arrived.is_set():
            self._arrived.set()

    def put_back(self, letters: Sequence[Letter]) -> None:
        """Take again what was not delivered; what lies on disk is there."""
        self._in_memory.extendleft(letter.intent for letter in reversed(letters) if letter.number is None)

    async def change(self) -> None:
        """Wait until there may be room, or `wake` is called."""
        self._room.clear()
        await self._room.wait()

    def wake(self) -> None:
        """Who waits for an intent or for room looks again."""
        self._arrived.set()
        self._room.set()

    def put_spooled(self, letters: Sequence[tuple[SpooledIntent, WriteIntent | None]]) -> None:
        """More intents lie in the spool, with copies of them where there are any.

        Behind one that has to be read all are read, so that the order stays.
        """
        at_hand = [Letter(copy, kept.id, len(kept.body)) for kept, copy in letters if copy is not None]
        room = self._sink.queue_size - len(self._at_hand)
        if self._on_disk or self._moving or len(at_hand) < len(letters) or len(letters) > room:
            self.note_on_disk(len(letters))
            return
        self._at_hand.extend(at_hand)
        self._pass(letters[-1][0].id)
        self._arrived.set()

    def note_on_disk(self, count: int) -> None:
        """`count` more intents lie in the spool, to be read from there."""
        self._on_disk += count
        self._arrived.set()

    # ---- out ---------------------------------------------------------------------------------------

    async def arrival(self) -> None:
        """Wait until there is something, or `wake` is called."""
        if not len(self):
            self._arrived.clear()
            await self._arrived.wait()

    async def next(self) -> list[Letter]:
        """The next batch; none where nothing waits. Raises `SpoolError`."""
        if self._at_hand:
            return self._from_hand()
        if self._on_disk:
            return await self._from_disk()
        return self._from_memory()

    def _from_hand(self) -> list[Letter]:
        first = [letter for letter, _ in zip(self._at_hand, range(self._sink.batch_size), strict=False)]
        return [self._at_hand.popleft() for _ in range(within(first, self._sink.batch_bytes))]

    def _from_memory(self) -> list[Letter]:
        batch: list[Letter] = []
        total = 0
        while self._in_memory and len(batch) < self._sink.batch_size:
            total += weight(self._in_memory[0].payload)
            if total > self._sink.batch_bytes and batch:
                break
            batch.append(Letter(self._in_memory.popleft()))
        if not self.full:
            self._room.set()
        return batch

    async def _from_disk(self) -> list[Letter]:
        async with self._taking:
            kept: list[SpooledIntent] = []
            while self._on_disk and not kept:
                spool = await self._spool()
                found = await spool.take(self._sink.name, after=self._cursor, limit=self._sink.batch_size)
                if not found:
                    self._on_disk = 0
                    break
                found = _within(found, self._sink.batch_bytes)
                kept = [item for item in found if item.id not in self._elsewhere]
                self._pass(found[-1].id)
                self._on_disk -= len(kept)
        return await self._letters(kept) if kept else []

    def _pass(self, number: int) -> None:
        """What is on disk through `number` is out of the queue, or at hand."""
        self._cursor = number
        if self._elsewhere:
            self._elsewhere = {item for item in self._elsewhere if item > number}

    # ---- to disk -----------------------------------------------------------------------------------

    async def to_disk(self) -> int:
        """Move what is in memory alone to the spool; how many. Raises `SpoolError`.

        What cannot be kept there, because it was changed since it was enqueued, stays at hand.
        """
        moved = 0
        self._moving = True
        try:
            while self._in_memory:
                moved += await self._move(min(_CHUNK, len(self._in_memory)))
        finally:
            self._moving = False
        return moved

    async def _move(self, count: int) -> int:
        letters = [Letter(self._in_memory.popleft()) for _ in range(count)]
        try:
            numbers = await self._put(letters)
        except BaseException:
            self.put_back(letters)
            raise
        self.note_on_disk(len(numbers))
        self._at_hand.extend(letter for letter in letters if letter.number is None)
        self._room.set()
        return len(numbers)

    async def keep(self, letters: Sequence[Letter]) -> None:
        """Put letters that are out of the queue into the spool, where that can be. Raises `SpoolError`."""
        self._elsewhere.update(await self._put(letters))

    async def _put(self, letters: Sequence[Letter]) -> list[int]:
        bodies: list[tuple[Letter, str]] = []
        for letter in letters:
            if letter.number is not None:
                continue
            try:
                bodies.append((letter, encode(letter.intent, self._sink.models)))
            except PayloadError as error:
                told = facts([letter.intent])
                log.error("intent_in_memory_only", sink=self._sink.name, **told, error=str(error))
        if not bodies:
            return []
        putting = asyncio.create_task(self._put_bodies(bodies), name=f"spill {self._sink.name}")
        try:
            return await asyncio.shield(putting)
        except asyncio.CancelledError:  # the file's thread goes on: who asks next has to know what it did
            await asyncio.wait({putting}, timeout=_PATIENCE_S)
            if putting.done() and not putting.cancelled():
                putting.exception()  # seen: what is not kept is put again
            raise

    async def _put_bodies(self, bodies: Sequence[tuple[Letter, str]]) -> list[int]:
        spool = await self._spool()
        numbers = await spool.put([(self._sink.name, body) for _, body in bodies])
        for (letter, body), number in zip(bodies, numbers, strict=True):
            letter.number, letter.size = number, len(body)
        return numbers

    @property
    def loose(self) -> list[Letter]:
        """What is in memory alone."""
        at_hand = [letter for letter in self._at_hand if letter.number is None]
        return [*at_hand, *map(Letter, self._in_memory)]


def _within(kept: list[SpooledIntent], limit: int) -> list[SpooledIntent]:
    """As many as have `limit` characters together, and at least one."""
    total = 0
    for at, item in enumerate(kept):
        total += len(item.body)
        if total > limit and at:
            return kept[:at]
    return kept
