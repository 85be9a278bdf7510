"""One function over many items: senders cut pieces, send them, and put the results in order.

A sender has one chunk in flight; there are more senders when the backend gets more workers. A sender cuts
the next piece only when it is free, so that items are fetched no faster than they are processed, and it waits
while the results are too far ahead of their consumer. A piece that comes back in part, or not at all, is cut
again, and the missing items go first.

A worker that dies takes its chunk with it, so the cause has to be isolated: usually the worker has noted the
item that it was processing. That item is sent once more, alone, because the death may have had another cause;
if a worker dies under it again, the item fails. If the item is not known, the piece is halved until it is.
"""

from __future__ import annotations

import asyncio
import pickle
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from piko.compute.backend import Backend, CasualtyError
from piko.compute.chunk import Chunk, pickled_items
from piko.compute.feed import Feed
from piko.compute.sizing import ChunkSizer
from piko.errors import ComputeError, ItemError, WorkerLostError
from piko.observability.bindings import current_run
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics

_AHEAD = 2
_GROW_S = 1.0

log = get_logger(__name__)

Progress = Callable[[int, int | None], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class MapTask:
    """The work to do for each item. `call` identifies one call of `map_reduce` or `stream` to the workers."""

    call: int
    fn: bytes
    name: str
    function: str
    """Its name without anything that it holds, for a span."""
    reduce_fn: bytes | None = None
    keep_going: bool = False
    item_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """Items from index `first` on. `suspect`: a worker has died while it processed them."""

    first: int
    items: Sequence[Any]
    suspect: bool = False

    def part(self, start: int, stop: int | None = None, *, suspect: bool = False) -> Piece:
        return Piece(self.first + start, self.items[start:stop], suspect)


@dataclass(frozen=True, slots=True)
class PieceResult:
    """The results of `length` items from index `first` on, or the one value that they were reduced to."""

    first: int
    length: int
    values: list[Any]


class Mapping:
    """One call. Iterate `outcomes()` once; closing the iterator frees the workers that are still busy."""

    def __init__(
        self,
        *,
        backend: Backend,
        metrics: Metrics,
        job: MapTask,
        feed: Feed,
        sizer: ChunkSizer,
        parallelism: int,
        concurrency: int | None,
        bounded: bool,
        progress: Progress | None = None,
    ) -> None:
        self.done = 0
        self._backend = backend
        self._metrics = metrics
        self._job = job
        self._feed = feed
        self._sizer = sizer
        self._parallelism = parallelism
        self._concurrency = concurrency
        self._bounded = bounded
        self._progress = progress
        self._again: deque[Piece] = deque()
        self._ready: dict[int, PieceResult] = {}
        self._handed_out = 0
        self._in_flight = 0
        self._feeding = False
        self._changed = asyncio.Event()

    async def outcomes(self) -> AsyncGenerator[PieceResult, None]:
        """Results in the order of the items, without gaps. Raises the first error of an item unchanged."""
        senders: list[asyncio.Task[None]] = []
        self._add_senders(senders)
        growing = asyncio.create_task(self._grow(senders), name=f"{self._job.name} grows")
        try:
            while True:
                while (outcome := self._ready.pop(self._handed_out, None)) is not None:
                    self._handed_out += outcome.length
                    self._changed.set()
                    yield outcome
                for sender in senders:
                    if sender.done():
                        sender.result()
                if all(sender.done() for sender in senders) and not self._ready:
                    return
                self._changed.clear()
                await self._changed.wait()
        finally:
            growing.cancel()
            await asyncio.gather(growing, return_exceptions=True)
            for sender in senders:
                sender.cancel()
            await asyncio.gather(*senders, return_exceptions=True)

    async def _grow(self, senders: list[asyncio.Task[None]]) -> None:
        """Use workers that come while the call runs: a cluster grows by what it is given."""
        while True:
            await asyncio.sleep(_GROW_S)
            wanted = await self._backend.parallelism()
            if self._concurrency is not None:
                wanted = min(self._concurrency, wanted)
            if wanted > self._parallelism:
                self._parallelism = wanted
                self._sizer.spread(wanted)
                self._add_senders(senders)

    def _add_senders(self, senders: list[asyncio.Task[None]]) -> None:
        senders += [
            asyncio.create_task(self._send_pieces(), name=f"{self._job.name} {n}")
            for n in range(len(senders), self._parallelism)
        ]

    async def _send_pieces(self) -> None:
        try:
            while (piece := await self._next()) is not None:
                try:
                    await self._send(piece)
                finally:
                    self._in_flight -= 1
                    self._changed.set()
        finally:
            self._changed.set()

    async def _next(self) -> Piece | None:
        while True:
            if self._again:
                self._in_flight += 1
                return self._cut(self._again.popleft())
            if self._feed.open and not self._feeding and self._has_capacity():
                self._feeding = True
                try:
                    first = self._feed.fetched
                    items = await self._feed.fetch(self._sizer.size(self._feed.remaining))
                finally:
                    self._feeding = False
                    self._changed.set()
                if items:
                    self._in_flight += 1
                    return Piece(first, items)
            elif not self._feed.open and not self._in_flight:
                return None
            else:
                self._changed.clear()
                await self._changed.wait()

    def _cut(self, piece: Piece) -> Piece:
        size = self._sizer.size(len(piece.items))
        if len(piece.items) > size:
            self._again.appendleft(piece.part(size, suspect=piece.suspect))
            self._changed.set()
        return piece.part(0, size, suspect=piece.suspect)

    def _has_capacity(self) -> bool:
        ahead = self._feed.fetched - self._handed_out
        size = self._sizer.size(self._feed.remaining)
        return not self._bounded or ahead <= _AHEAD * self._parallelism * size

    async def _send(self, piece: Piece) -> None:
        job = self._job
        try:
            items = pickled_items(piece.items)
        except Exception as error:  # noqa: BLE001 - a person's __reduce__ can raise anything
            self._leave_out(piece, error)
            return
        chunk = Chunk(
            call=job.call,
            count=len(piece.items),
            fn=job.fn,
            items=items,
            reduce_fn=job.reduce_fn,
            keep_going=job.keep_going,
            budget_s=self._sizer.budget_s,
            item_timeout_s=job.item_timeout_s,
            run=current_run(),
            function=job.function,
        )
        try:
            answer = await self._backend.run(chunk)
        except CasualtyError as casualty:
            self._isolate(piece, casualty)
            return
        values = pickle.loads(answer.results)  # noqa: S301 - written by our own worker
        for failure in answer.failures:
            raised = failure.restored(first=piece.first)
            self._metrics.cpu_items.labels("failed").inc()
            if failure.offset is None or not job.keep_going:
                raise raised
            values[failure.offset] = raised
        self._metrics.cpu_items.labels("ok").inc(answer.done - len(answer.failures))
        self._sizer.learn(
            done=answer.done, seconds=answer.seconds, transferred=len(items) + len(answer.results)
        )
        if answer.done < len(piece.items):
            self._again.appendleft(piece.part(answer.done, suspect=piece.suspect))
        self._finish(PieceResult(piece.first, answer.done, values))

    def _leave_out(self, piece: Piece, error: Exception) -> None:
        """Find the item that cannot be pickled; with `keep_going`, continue with the others."""
        offset, refusal = _unsendable(piece, error)
        self._metrics.cpu_items.labels("failed").inc()
        if not self._job.keep_going:
            raise refusal
        self._finish(PieceResult(piece.first + offset, 1, [refusal]))
        rest = [piece.part(0, offset, suspect=piece.suspect), piece.part(offset + 1, suspect=piece.suspect)]
        self._again.extendleft(part for part in reversed(rest) if part.items)

    def _isolate(self, piece: Piece, casualty: CasualtyError) -> None:
        """Split a piece whose worker died: items to send again, one to send alone, or one that has failed.

        An item fails if it timed out, or if its worker died although it was sent alone.
        """
        offset = 0 if len(piece.items) == 1 else casualty.offset
        log.warning(
            "cpu_worker_lost", call=self._job.name, first_item=piece.first, at=offset, how=casualty.how
        )
        if offset is None:
            half = len(piece.items) // 2
            self._again.extendleft([piece.part(half, suspect=True), piece.part(0, half, suspect=True)])
            return
        single = piece.part(offset, offset + 1, suspect=True)
        rest = [piece.part(0, offset, suspect=piece.suspect), piece.part(offset + 1, suspect=piece.suspect)]
        if casualty.timed_out or (piece.suspect and len(piece.items) == 1):
            error = self._item_error(single, casualty)
            self._metrics.cpu_items.labels("timeout" if casualty.timed_out else "lost").inc()
            if not self._job.keep_going:
                raise error
            self._finish(PieceResult(single.first, 1, [error]))
        else:
            rest.append(single)
        self._again.extendleft(part for part in reversed(rest) if part.items)

    def _item_error(self, single: Piece, casualty: CasualtyError) -> Exception:
        index = single.first
        what = f"item {index} of {self._job.name}"
        if casualty.timed_out:
            timeout = TimeoutError(f"{what} {casualty.how}")
            timeout.__cause__ = ItemError(f"item {index}", index=index)
            return timeout
        return WorkerLostError(
            f"two worker processes died running {what}, the second one alone: {casualty.how}", index=index
        )

    def _finish(self, outcome: PieceResult) -> None:
        self._ready[outcome.first] = outcome
        self.done += outcome.length
        if self._progress is not None:
            self._progress(self.done, self._feed.total)
        self._changed.set()


def _unsendable(piece: Piece, error: Exception) -> tuple[int, ComputeError]:
    """The offset of the item that cannot be pickled, with the error."""
    for offset, item in enumerate(piece.items):
        try:
            pickled_items([item])
        except Exception as reason:  # noqa: BLE001 - as above
            index = piece.first + offset
            refusal = ComputeError(
                f"item {index}, a {type(item).__qualname__}, cannot be sent to a worker process: {reason}; "
                "pass plain values, or what the function needs to create the object itself"
            )
            refusal.__cause__ = ItemError(f"item {index}", index=index)
            return offset, refusal
    return 0, ComputeError(f"items from {piece.first} on cannot be sent to a worker process: {error}")
