"""One attempt to write letters to their sink: they are delivered, refused, or become dead letters.

Every letter of a sink is counted from its acceptance until it is delivered or dead, so that the number of
waiting letters is known at any moment, wherever they wait: in the queue, on disk, or in a write that is in
progress.

One write at a time can hang without holding up the replica. A write that takes longer than `_PATIENCE_S` is
*overdue*: its letters are put on disk while it continues, because a crash would now lose them. After the
sink's `timeout_s` it is cancelled; the next write waits until it has really ended, so that a sink which
ignores cancellation cannot pile up writes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

from piko.clock import Clock
from piko.errors import DatabaseUnavailableError, PayloadError, SpoolError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.observability.redaction import hide
from piko.persistence.codec import decode, encode, encode_unkeepable
from piko.persistence.intent import WriteIntent
from piko.persistence.letter import Letter, SecretsOf, facts
from piko.persistence.sink_base import ResultSink
from piko.spool.intents import DeadIntent, SpooledIntent
from piko.spool.spool import Spool
from piko.text import excerpt, whole_error_text
from piko.tracing.traces import Delivered, Traces

_PATIENCE_S = 2.0
"""Seconds after which a write is overdue and its letters are put on disk, in case it fails."""
_GRACE_S = 1.0
_AGAIN_S = 1.0
_ERROR_BYTES = 4_000
_LINES_A_MINUTE = 50

_T = TypeVar("_T")

log = get_logger(__name__)


class WriteFailure(NamedTuple):
    """How a write failed.

    `of_record`: the sink states that a record does not fit. `away`: the type of the error suggests that the
    sink is unavailable. `timed_out`: the sink did not answer in time.
    """

    error: str
    of_record: bool = False
    away: bool = False
    timed_out: bool = False


Refused = Callable[[str, Sequence[str]], None]
"""Called with the records that a sink refused: the sink's name and the run of each record."""


class Delivery:
    """Writes letters to one sink.

    - `spool` opens the spool.
    - `secure` puts letters on disk whose write is overdue.
    - `refused` is called for dead letters.
    - `secrets_of` says what is hidden in what the sink says.
    - `traces` gets a span of each write.
    """

    def __init__(
        self,
        sink: ResultSink,
        *,
        spool: Callable[[], Awaitable[Spool]],
        secure: Callable[[Sequence[Letter]], Awaitable[None]],
        refused: Refused,
        secrets_of: SecretsOf,
        traces: Traces,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._sink = sink
        self._refused = refused
        self._secrets_of = secrets_of
        self._traces = traces
        self._spool = spool
        self._secure = secure
        self._clock = clock
        self.waiting = 0
        """Letters accepted or found on disk that are neither delivered nor dead yet."""
        self.overdue = 0
        """Writes in progress that take longer than `_PATIENCE_S`."""
        self.failing: str | None = None
        self.failing_since: datetime | None = None
        self.moved = asyncio.Event()
        self.loose: dict[int, Letter] = {}
        """Letters that are out of the queue and not on disk, by `id`."""
        self._writing: set[asyncio.Task[WriteFailure | None]] = set()
        self._minute, self._logged = clock.monotonic(), 0
        self._accepted = metrics.persistence_intents.labels(sink.name, "accepted")
        self._delivered = metrics.persistence_intents.labels(sink.name, "delivered")
        self._batch_size = metrics.persistence_batch_size.labels(sink.name)
        self._failures = metrics.persistence_sink_failures.labels(sink.name)
        self._dead = metrics.persistence_dead_letters.labels(sink.name)
        metrics.persistence_queue.labels(sink.name).set_function(lambda: self.waiting)

    @property
    def abandoned(self) -> int:
        """Writes that continue although they were cancelled."""
        return sum(not task.done() for task in self._writing)

    def accept(self, count: int) -> None:
        self.waiting += count
        self._accepted.inc(count)

    def find(self, count: int) -> None:
        """Count letters that were found on disk."""
        self.waiting += count

    def _fails(self, error: str) -> None:
        self.failing = error
        self.failing_since = self.failing_since or self._clock.now()

    def recover(self) -> None:
        """Note that a trouble is over. The last write of it may be one that convicted a record."""
        self.failing = self.failing_since = None

    # ---- one write ---------------------------------------------------------------------------------

    async def attempt(self, letters: Sequence[Letter]) -> WriteFailure | None:
        """Write `letters` once; None means that the sink accepted them and they count as delivered."""
        self._batch_size.observe(len(letters))
        refusal = await self._written(letters)
        if refusal is None:
            self.recover()
            await self._tick_off(letters)
            return None
        self._failures.inc()
        self._fails(refusal.error)
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
        """Cancel a write and wait until it has ended, so that cancelled writes do not pile up."""
        writing.cancel()
        await asyncio.wait({writing}, timeout=_GRACE_S)
        if not writing.done():
            self._fails("a write was cancelled after timeout_s and still continues; its sink has to end it")
            log.error("sink_goes_on", sink=self._sink.name, timeout_s=self._sink.timeout_s)
            await asyncio.wait({writing})

    async def _call(self, letters: Sequence[Letter]) -> WriteFailure | None:
        """Call the sink. An exception of any kind is a failed write, never a failure of the replica."""
        run_ids = [letter.intent.run_id for letter in letters]
        with self._traces.delivering(self._sink.name, run_ids) as span:
            return await self._call_within(span, letters)

    async def _call_within(self, span: Delivered, letters: Sequence[Letter]) -> WriteFailure | None:
        try:
            await self._sink.write_batch([letter.intent for letter in letters])
        except asyncio.CancelledError as error:
            ourselves = asyncio.current_task()
            if ourselves is not None and ourselves.cancelling():
                raise
            span.failed(type(error).__qualname__)
            return WriteFailure(self._said(whole_error_text(error), letters))
        except PayloadError as error:
            span.failed(type(error).__qualname__)
            return WriteFailure(self._said(str(error), letters), of_record=True)
        except BaseException as error:  # noqa: BLE001
            span.failed(type(error).__qualname__)
            text = self._said(whole_error_text(error), letters)
            return WriteFailure(text, away=isinstance(error, OSError | DatabaseUnavailableError))
        return None

    def _said(self, text: str, letters: Sequence[Letter]) -> str:
        """What the sink says of `letters`; it may quote values, and these may be secrets of their jobs."""
        return self._shown(text, {str(letter.intent.job_id) for letter in letters})

    def _shown(self, text: str, job_ids: Collection[str]) -> str:
        """`text` about records of these jobs, without secrets, which are hidden before it is cut."""
        return excerpt(hide(text, self._secrets_of(job_ids)), limit=_ERROR_BYTES)

    def named(self, intents: Iterable[WriteIntent]) -> dict[str, Any]:
        """The jobs, runs and keys of `intents` for a log event."""
        return facts(intents, self._secrets_of)

    def _named_as(self, whose: dict[str, Any]) -> dict[str, Any]:
        """What was found in a body that cannot be decoded, with a key that may be shown."""
        key = whose["key"]
        return {**whose, "key": key and self._shown(str(key), {str(whose["job_id"])})}

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
        """Move letters that the sink refuses to the dead letters, each with its error.

        Retries until the disk works.
        """
        while refused:
            try:
                await self.bury_now(refused)
            except SpoolError as error:
                await self._wait_for_disk(error)
            else:
                return

    async def bury_now(self, refused: Sequence[tuple[Letter, str]]) -> None:
        """As `bury`, but raises `SpoolError` instead of retrying."""
        rows = [self._row(letter, error) for letter, error in refused]
        spool = await self._spool()
        await spool.bury(self._sink.name, rows)
        for letter, error in refused:
            self._log_dead_letter(self.named([letter.intent]), error)
        self._dead.inc(len(refused))
        self._refused(self._sink.name, [letter.intent.run_id for letter, _ in refused])
        self._end([letter for letter, _ in refused])
        self.failing = self.failing_since = None  # it was the records that were bad, not the sink

    async def letters(self, kept: Sequence[SpooledIntent]) -> list[Letter]:
        """Decode spooled intents. Those that can no longer be decoded become dead letters."""
        found, unreadable = [], []
        models = self._sink.models
        for item in kept:
            try:
                found.append(Letter(decode(self._sink.name, item.body, models), item.id, len(item.body)))
            except Exception as error:  # noqa: BLE001 - validating a model runs the job's code
                text = str(error) if isinstance(error, PayloadError) else whole_error_text(error)
                unreadable.append((item, self._shown(text, {str(_facts_of(item.body)["job_id"])})))
        if unreadable:
            rows = [DeadIntent(why, item.id) for item, why in unreadable]
            await self.insist(lambda spool: spool.bury(self._sink.name, rows))
            whose = [self._named_as(_facts_of(item.body)) for item, _ in unreadable]
            for names, (_, why) in zip(whose, unreadable, strict=True):
                self._log_dead_letter(names, why)
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
            text = self._said(f"{error}; {unkeepable}", [letter])
            return DeadIntent(text, body=encode_unkeepable(letter.intent))

    def _log_dead_letter(self, whose: dict[str, Any], error: str) -> None:
        now = self._clock.monotonic()
        if now - self._minute >= 60:
            self._minute, self._logged = now, 0
        self._logged += 1
        if self._logged <= _LINES_A_MINUTE:
            log.error("dead_letter", sink=self._sink.name, **whose, error=error)
        elif self._logged == _LINES_A_MINUTE + 1:
            log.error("more_dead_letters", sink=self._sink.name, remedy="piko spool list shows them")

    async def insist(self, work: Callable[[Spool], Awaitable[_T]]) -> _T:
        """Use the spool, with retries until it works: a full disk may be freed."""

        async def use() -> _T:
            return await work(await self._spool())

        return await self.patiently(use)

    async def patiently(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Do work that may need the spool, with retries until the spool works."""
        while True:
            try:
                return await work()
            except SpoolError as error:
                await self._wait_for_disk(error)

    async def _wait_for_disk(self, error: SpoolError) -> None:
        self._fails(str(error))
        log.error("spool_failed", sink=self._sink.name, error=str(error))
        await asyncio.sleep(_AGAIN_S)


def _facts_of(body: str) -> dict[str, Any]:
    """The key, job and run of an intent that cannot be decoded."""
    try:
        key, job_id, run_id, *_ = json.loads(body)
    except (ValueError, TypeError):
        return {"job_id": None, "run_id": None, "key": None}
    return {"job_id": job_id, "run_id": run_id, "key": key}
