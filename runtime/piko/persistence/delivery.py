"""Letters given to their sink, once: taken and ticked off, refused, or buried as dead letters.

Every letter of a sink is counted from its acceptance to its end, so that what waits is known at any moment,
wherever it waits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from piko.clock import Clock
from piko.errors import DatabaseUnavailableError, PayloadError, SpoolError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.persistence.codec import decode, encode, encode_unkeepable
from piko.persistence.letter import Letter, facts
from piko.persistence.sink_base import ResultSink
from piko.spool.intents import DeadIntent, Spool, SpooledIntent
from piko.text import error_text, excerpt

_PATIENCE_S = 2.0
"""A write that takes longer may come to nothing: what it holds is put on disk meanwhile."""
_GRACE_S = 1.0
_AGAIN_S = 1.0
_ERROR_BYTES = 4_000
_LINES_A_MINUTE = 50

_T = TypeVar("_T")

log = get_logger(__name__)


class WriteFailure(NamedTuple):
    """How a write failed.

    `of_record`: by the sink's own word it is a record that does not fit. `away`: by the kind of the error the
    sink was not there. `timed_out`: it gave no answer.
    """

    error: str
    of_record: bool = False
    away: bool = False
    timed_out: bool = False


Refused = Callable[[str, Sequence[str]], None]
"""Hears of records that a sink refused: its name, and the run of each record."""


class Delivery:
    """`secure` puts letters on disk whose write is overdue; `refused` hears of dead letters."""

    def __init__(
        self,
        sink: ResultSink,
        *,
        spool: Callable[[], Awaitable[Spool]],
        secure: Callable[[Sequence[Letter]], Awaitable[None]],
        refused: Refused,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._sink = sink
        self._refused = refused
        self._spool = spool
        self._secure = secure
        self._clock = clock
        self.waiting = 0
        """Accepted or found on disk, and neither delivered nor dead yet."""
        self.overdue = 0
        """Writes that take suspiciously long."""
        self.failing: str | None = None
        self.moved = asyncio.Event()
        self.loose: dict[int, Letter] = {}
        """Out of the queue and not on disk, by `id`."""
        self._writing: set[asyncio.Task[WriteFailure | None]] = set()
        self._minute, self._told = clock.monotonic(), 0
        self._accepted = metrics.persistence_intents.labels(sink.name, "accepted")
        self._delivered = metrics.persistence_intents.labels(sink.name, "delivered")
        self._batch_size = metrics.persistence_batch_size.labels(sink.name)
        self._failures = metrics.persistence_sink_failures.labels(sink.name)
        self._dead = metrics.persistence_dead_letters.labels(sink.name)
        metrics.persistence_queue.labels(sink.name).set_function(lambda: self.waiting)

    @property
    def abandoned(self) -> int:
        """Writes that go on although they were cancelled."""
        return sum(not task.done() for task in self._writing)

    def accept(self, count: int) -> None:
        self.waiting += count
        self._accepted.inc(count)

    def find(self, count: int) -> None:
        """So many were found on disk."""
        self.waiting += count

    # ---- one write ---------------------------------------------------------------------------------

    async def attempt(self, letters: Sequence[Letter]) -> WriteFailure | None:
        """Write once; None: the sink has taken them, and they are ticked off."""
        self._batch_size.observe(len(letters))
        refusal = await self._written(letters)
        if refusal is None:
            self.failing = None
            await self._tick_off(letters)
            return None
        self._failures.inc()
        self.failing = refusal.error
        return refusal

    async def _written(self, letters: Sequence[Letter]) -> WriteFailure | None:
        sink = self._sink
        writing = asyncio.create_task(self._call(letters), name=f"write to {sink.name}")
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        try:
            patience = min(_PATIENCE_S, sink.timeout_s)
            await asyncio.wait({writing}, timeout=patience)
            if not writing.done() and sink.timeout_s > patience:
                await self._overdue(letters, writing, sink.timeout_s - patience)
            if not writing.done():
                await self._cut_off(writing)
        except asyncio.CancelledError:
            writing.cancel()
            await asyncio.wait({writing}, timeout=_GRACE_S)
            raise
        if writing.cancelled():
            return WriteFailure(f"no answer within timeout_s = {sink.timeout_s:g}", away=True, timed_out=True)
        return writing.result()

    async def _overdue(
        self, letters: Sequence[Letter], writing: asyncio.Task[WriteFailure | None], rest_s: float
    ) -> None:
        self.overdue += 1
        try:
            await self._secure(letters)
            await asyncio.wait({writing}, timeout=rest_s)
        finally:
            self.overdue -= 1

    async def _cut_off(self, writing: asyncio.Task[WriteFailure | None]) -> None:
        """Cancel a write. The next one waits until this has ended: their number is bounded."""
        writing.cancel()
        await asyncio.wait({writing}, timeout=_GRACE_S)
        if not writing.done():
            self.failing = "a write was cancelled after timeout_s and goes on; its sink has to end it"
            log.error("sink_goes_on", sink=self._sink.name, timeout_s=self._sink.timeout_s)
            await asyncio.wait({writing})

    async def _call(self, letters: Sequence[Letter]) -> WriteFailure | None:
        """Whatever the sink raises is its own trouble, and not the replica's."""
        try:
            await self._sink.write_batch([letter.intent for letter in letters])
        except asyncio.CancelledError as error:
            ourselves = asyncio.current_task()
            if ourselves is not None and ourselves.cancelling():
                raise
            return WriteFailure(error_text(error))
        except PayloadError as error:
            return WriteFailure(excerpt(str(error), limit=_ERROR_BYTES), of_record=True)
        except BaseException as error:  # noqa: BLE001
            told = excerpt(error_text(error), limit=_ERROR_BYTES)
            return WriteFailure(told, away=isinstance(error, OSError | DatabaseUnavailableError))
        return None

    async def _tick_off(self, letters: Sequence[Letter]) -> None:
        self._delivered.inc(len(letters))
        numbers = [letter.number for letter in letters if letter.number is not None]
        if numbers:
            await self.insist(lambda spool: spool.remove(numbers))
        self._end(letters)

    def _end(self, letters: Sequence[Letter]) -> None:
        self.waiting -= len(letters)
        for letter in letters:
            letter.ended = True
            if self.loose:
                self.loose.pop(id(letter), None)
        self.moved.set()

    # ---- dead letters ------------------------------------------------------------------------------

    async def bury(self, refused: Sequence[tuple[Letter, str]]) -> None:
        """Make dead letters of what the sink refuses, each with its error."""
        while refused:
            try:
                await self.bury_now(refused)
            except SpoolError as error:
                await self._wait_for_disk(error)
            else:
                return

    async def bury_now(self, refused: Sequence[tuple[Letter, str]]) -> None:
        """The same, or raise `SpoolError`."""
        rows = [self._row(letter, error) for letter, error in refused]
        spool = await self._spool()
        await spool.bury(self._sink.name, rows)
        for letter, error in refused:
            self._tell_dead(facts([letter.intent]), error)
        self._dead.inc(len(refused))
        self._refused(self._sink.name, [letter.intent.run_id for letter, _ in refused])
        self._end([letter for letter, _ in refused])

    async def letters(self, kept: Sequence[SpooledIntent]) -> list[Letter]:
        """What was kept, as letters; what can no longer be read is buried."""
        found, unreadable = [], []
        models = self._sink.models
        for item in kept:
            try:
                found.append(Letter(decode(self._sink.name, item.body, models), item.id, len(item.body)))
            except Exception as error:  # noqa: BLE001 - a model that validates is code of the job
                told = str(error) if isinstance(error, PayloadError) else error_text(error)
                unreadable.append((item, excerpt(told, limit=_ERROR_BYTES)))
        if unreadable:
            rows = [DeadIntent(why, item.id) for item, why in unreadable]
            await self.insist(lambda spool: spool.bury(self._sink.name, rows))
            whose = [_facts_of(item.body) for item, _ in unreadable]
            for names, (_, why) in zip(whose, unreadable, strict=True):
                self._tell_dead(names, why)
            self._dead.inc(len(unreadable))
            self._refused(self._sink.name, [str(names["run_id"]) for names in whose])
            self.waiting -= len(unreadable)
            self.moved.set()
        return found

    def _row(self, letter: Letter, error: str) -> DeadIntent:
        if letter.number is not None:
            return DeadIntent(error, letter.number)
        try:
            return DeadIntent(error, body=encode(letter.intent, self._sink.models))
        except PayloadError as unkeepable:
            told = excerpt(f"{error}; {unkeepable}", limit=_ERROR_BYTES)
            return DeadIntent(told, body=encode_unkeepable(letter.intent))

    def _tell_dead(self, whose: dict[str, Any], error: str) -> None:
        now = self._clock.monotonic()
        if now - self._minute >= 60:
            self._minute, self._told = now, 0
        self._told += 1
        if self._told <= _LINES_A_MINUTE:
            log.error("dead_letter", sink=self._sink.name, **whose, error=error)
        elif self._told == _LINES_A_MINUTE + 1:
            log.error("more_dead_letters", sink=self._sink.name, told_by="piko spool list")

    async def insist(self, work: Callable[[Spool], Awaitable[_T]]) -> _T:
        """Use the spool until it works: a full disk may be freed."""

        async def use() -> _T:
            return await work(await self._spool())

        return await self.patiently(use)

    async def patiently(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do what may need the spool until it works."""
        while True:
            try:
                return await work()
            except SpoolError as error:
                await self._wait_for_disk(error)

    async def _wait_for_disk(self, error: SpoolError) -> None:
        self.failing = str(error)
        log.error("spool_failed", sink=self._sink.name, error=str(error))
        await asyncio.sleep(_AGAIN_S)


def _facts_of(body: str) -> dict[str, Any]:
    """Whose an intent is that cannot be read as a whole."""
    try:
        key, job_id, run_id, *_ = json.loads(body)
    except (ValueError, TypeError):
        return {"job_id": None, "run_id": None, "key": None}
    return {"job_id": job_id, "run_id": run_id, "key": key}
