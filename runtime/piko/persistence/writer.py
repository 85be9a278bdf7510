"""`app.writer`: intents in, batches out.

When `enqueue` returns, an intent for a `memory` sink is in the queue, or on disk while the sink fails; an
intent for a `spooled` sink is on disk. Intents for the disk that arrive while one write is in progress share
the next write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from piko.background.closing import WITHIN_S, ClosingStack
from piko.clock import Clock
from piko.errors import PayloadError, RegistrationError, SpoolError
from piko.model.sinks import SinkState
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.observability.redaction import hide
from piko.persistence.codec import check_keepable, detached, encode
from piko.persistence.dead_letters import DeadLetters
from piko.persistence.delivery import Refused
from piko.persistence.intent import WriteIntent
from piko.persistence.letter import SecretsOf
from piko.persistence.sink_base import ResultSink
from piko.persistence.sink_states import sink_states
from piko.persistence.sink_worker import SinkWorker
from piko.spool.intents import SpooledIntent
from piko.spool.spool import Spool
from piko.tracing.traces import NO_TRACES, Traces

_COMMIT_S = 5.0
_SETTLE_S = 10.0

Spooled = tuple[str, str, WriteIntent | None]
"""An intent on its way to disk: its sink, its text, and a copy of it if it was cheap to copy."""

log = get_logger(__name__)


class PersistenceWriter:
    """Accepts intents from handlers and gives them to sinks in batches.

    Example:
        app.writer.register_sink(MySink(name="warehouse", durability="spooled"))

        @app.job("load")
        async def load(ctx, scheduled_time):
            await app.writer.enqueue(WriteIntent(sink="warehouse", key="1", payload={"id": 1}, ...))
    """

    name = "writer"

    def __init__(self, *, clock: Clock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        self._sinks: dict[str, ResultSink] = {}
        self._workers: dict[str, SinkWorker] = {}
        self._spool: Spool | None = None
        self._opening: asyncio.Task[Spool] | None = None
        self._make_spool: Callable[[], Spool] | None = None
        self._group: list[tuple[list[Spooled], asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._running = False
        self._abandoned = 0
        self._take: Callable[[WriteIntent], None] | None = None
        self._secrets_of: SecretsOf = lambda _: ()
        self._unregistered: dict[str, int] = {}
        """Intents that earlier processes left for sinks that are not registered."""
        self.dead_letters = DeadLetters(
            spool=lambda: self._spool,
            workers=self._workers,
            secrets_of=lambda job_ids: self._secrets_of(job_ids),
        )

    def register_sink(self, sink: ResultSink) -> None:
        """Register `sink` under its name.

        Raises `RegistrationError` if it is not a `ResultSink`, if its name is taken, or if the app already
        runs.
        """
        if not isinstance(sink, ResultSink):
            raise RegistrationError(
                f"register_sink({sink!r}): expected an instance of a subclass of ResultSink"
            )
        if sink.name in self._sinks:
            raise RegistrationError(
                f"sink {sink.name!r} is already registered; give one of the two another name"
            )
        if self._running:
            raise RegistrationError(f"sink {sink.name!r}: register sinks before the app runs")
        self._sinks[sink.name] = sink

    def __len__(self) -> int:
        """Intents that are not delivered yet."""
        return sum(len(worker) for worker in self._workers.values())

    @property
    def failing(self) -> dict[str, str]:
        """The sinks that currently fail or hang, with their last error."""
        return {name: worker.failing for name, worker in self._workers.items() if worker.failing is not None}

    async def sink_states(self) -> list[SinkState]:
        """What waits for each sink, whether it fails, and what it has refused. Raises `SpoolError`."""
        return await sink_states(
            self._workers,
            spool=self._spool,
            dead_letters=self.dead_letters,
            unregistered=self._unregistered,
        )

    # ---- in ----------------------------------------------------------------------------------------

    async def enqueue(self, intent: WriteIntent) -> None:
        """Accept `intent`; waits while its sink's queue is full.

        Raises `PayloadError` if its sink can never write it, if its payload cannot be encoded, or if its sink
        is not registered; raises `SpoolError` if an intent for a spooled sink cannot be put on disk. In both
        cases it was not accepted.
        """
        if self._take is not None:
            self._divert([intent])
            return
        worker = self._checked(intent)
        if not worker.keeps_on_disk and not worker.full:
            worker.put(intent)
            return
        await self._accept(worker, [intent])

    async def enqueue_many(self, intents: Sequence[WriteIntent]) -> None:
        """Accept `intents` after all of them are checked; those of one sink that go to disk share a write.

        Raises the errors of `enqueue`; after a `SpoolError`, intents of other sinks may have been accepted.
        """
        if self._take is not None:
            self._divert(intents)
            return
        workers: dict[str, tuple[SinkWorker, list[WriteIntent]]] = {}
        for intent in intents:
            worker = self._checked(intent)
            workers.setdefault(intent.sink, (worker, []))[1].append(intent)
        for worker, mine in workers.values():
            await self._accept(worker, mine)

    @contextmanager
    def diverted(self, take: Callable[[WriteIntent], None]) -> Iterator[None]:
        """While the block lasts, intents are checked as ever and given to `take`: no sink writes them."""
        self._take = take
        try:
            yield
        finally:
            self._take = None

    def _divert(self, intents: Sequence[WriteIntent]) -> None:
        for intent in intents:
            sink = self._sinks.get(intent.sink)
            if sink is None:
                raise self._no_sink(intent)
            sink.check(intent)
            check_keepable(intent, sink.models)
        for intent in intents:
            assert self._take is not None
            self._take(intent)

    async def _accept(self, worker: SinkWorker, intents: Sequence[WriteIntent]) -> None:
        """Put intents into memory while there is space and the sink works, and the rest on disk together."""
        for number, intent in enumerate(intents):
            while not worker.keeps_on_disk and worker.full:
                await worker.change()
            if worker.keeps_on_disk:
                await self._keep_or_wait(worker, intents[number:])
                return
            worker.put(intent)

    async def _keep_or_wait(self, worker: SinkWorker, intents: Sequence[WriteIntent]) -> None:
        await worker.secured()
        try:
            await self._keep(intents)
        except SpoolError:
            if worker.sink.durability == "spooled":
                raise
            for intent in intents:  # the disk does not work, so memory has to do
                while worker.full:
                    await worker.change()
                worker.put(intent)

    def _checked(self, intent: WriteIntent) -> SinkWorker:
        worker = self._worker(intent)
        worker.sink.check(intent)
        check_keepable(intent, worker.models)
        return worker

    def _worker(self, intent: WriteIntent) -> SinkWorker:
        worker = self._workers.get(intent.sink)
        if worker is not None and self._running:
            return worker
        if intent.sink in self._sinks:
            raise PayloadError(f"intent {intent.key!r} for sink {intent.sink!r}: the app is not running")
        raise self._no_sink(intent)

    def _no_sink(self, intent: WriteIntent) -> PayloadError:
        known = ", ".join(self._sinks) or "none"
        return PayloadError(
            f"intent {intent.key!r}: no sink {intent.sink!r} is registered; registered sinks: {known}; "
            "call app.writer.register_sink before the app runs"
        )

    async def _keep(self, intents: Sequence[WriteIntent]) -> None:
        rows = [
            (intent.sink, encode(intent, self._workers[intent.sink].models), detached(intent))
            for intent in intents
        ]
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._group.append((rows, kept))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit(), name="spool commit")
        await kept

    async def _commit(self) -> None:
        """Put waiting intents on disk, group by group, until none is left."""
        while self._group:
            group, self._group = self._group, []
            rows = [row for part, _ in group for row in part]
            error: SpoolError | None = None
            try:
                spool = await self._opened()
                ids = await spool.put([(sink, body) for sink, body, _ in rows])
            except SpoolError as failure:
                error = failure
            for _, kept in group:
                if kept.done():  # its handler was cancelled; the intent is kept all the same
                    continue
                if error is None:
                    kept.set_result(None)
                else:
                    kept.set_exception(error)
            if error is None:
                arrived: dict[str, list[tuple[SpooledIntent, WriteIntent | None]]] = {}
                for number, (sink, body, copy) in zip(ids, rows, strict=True):
                    arrived.setdefault(sink, []).append((SpooledIntent(number, body), copy))
                for sink, letters in arrived.items():
                    if sink in self._workers:
                        self._workers[sink].put_spooled(letters)

    # ---- its life ----------------------------------------------------------------------------------

    def prepare(
        self,
        *,
        folder: Path,
        fsync: bool,
        owner: str,
        refused: Refused = lambda _, __: None,
        secrets_of: SecretsOf = lambda _: (),
        traces: Traces = NO_TRACES,
    ) -> None:
        """Set up the spool and a worker per sink. Call before `run`.

        - `folder`: the folder of the spool; `owner` names this process's file in it.
        - `fsync`: whether a write returns only once it is on the disk.
        - `refused` is called with records that become dead letters: the sink, and the run of each.
        - `secrets_of` says what is hidden in errors of sinks, by the jobs of the records.
        - `traces` gets a span of each write of a sink.
        """
        self._secrets_of = secrets_of
        self._make_spool = lambda: Spool(folder, name=owner, fsync=fsync)
        self._running = True
        for name, sink in self._sinks.items():
            self._workers[name] = SinkWorker(
                sink,
                spool=self._opened,
                refused=refused,
                secrets_of=secrets_of,
                traces=traces,
                clock=self._clock,
                metrics=self._metrics,
            )
        self._opens_spool = any(sink.durability == "spooled" for sink in self._sinks.values()) or (
            bool(self._sinks) and folder.is_dir()
        )

    async def run(self) -> None:
        """Deliver until cancelled, beginning with what earlier processes left in the spool."""
        if self._opens_spool:
            await self._opened()
            self._opens_spool = False
        async with asyncio.TaskGroup() as group:
            for worker in self._workers.values():
                group.create_task(worker.run(), name=f"sink {worker.sink.name}")
            if not self._workers:
                await asyncio.Event().wait()

    async def drain(self, budget_s: float) -> None:
        """Deliver waiting intents within `budget_s` seconds; `settle` leaves the rest for the next start."""
        for worker in self._workers.values():
            worker.hurry()
        emptying = [asyncio.create_task(worker.emptied()) for worker in self._workers.values()]
        if emptying:
            await asyncio.wait(emptying, timeout=budget_s)
        for task in emptying:
            task.cancel()

    async def settle(self) -> None:
        """Put undelivered intents on disk after `run` has ended. No more intents are accepted."""
        self._running = False
        if self._committer is not None:
            await asyncio.wait({self._committer}, timeout=_COMMIT_S)
        settling = ClosingStack()
        for name, worker in self._workers.items():
            settling.push(f"intents for sink {name}", worker.settle, within_s=_SETTLE_S)
        await settling.close_together()
        self._abandoned += sum(worker.abandoned for worker in self._workers.values())
        self._workers.clear()
        if self._spool is not None:
            await self._spool.close()
            self._spool = self._opening = None

    async def close(self, *, within_s: float = WITHIN_S) -> None:
        """Close the sinks, after `settle`. Each has `within_s` seconds, regardless of the others."""
        closing = ClosingStack(shown=lambda text: hide(text, self._secrets_of(())))
        for name, sink in self._sinks.items():
            closing.push(f"sink {name}", sink.close, within_s=within_s)
        await closing.close_together()
        self._abandoned += closing.abandoned

    @property
    def abandoned(self) -> int:
        """Writes and closings of sinks that continued after they were cancelled, when the writer ended."""
        return self._abandoned

    async def _opened(self) -> Spool:
        """The spool, opened once; opening completes even if a caller that waits for it is cancelled."""
        if self._opening is None or (self._opening.done() and self._spool is None):
            self._opening = asyncio.create_task(self._open(), name="open spool")
        return await asyncio.shield(self._opening)

    async def _open(self) -> Spool:
        assert self._make_spool is not None
        spool = self._make_spool()
        await spool.open()
        self._spool = spool
        for sink, count in (await spool.counts()).items():
            if sink in self._workers:
                self._workers[sink].adopt(count)
                log.info("intents_recovered", sink=sink, intents=count)
            else:
                self._unregistered[sink] = count
                log.warning("intents_without_sink", sink=sink, intents=count)
        return spool
