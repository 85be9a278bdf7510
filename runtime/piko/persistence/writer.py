"""`app.writer`: intents in, batches out.

What `enqueue` returning means depends on the sink: `memory`, it is in the queue, or on disk while the sink
fails; `spooled`, it is on disk. Intents for the disk that arrive while one write is in progress share the
next one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

from piko.background.closing import WITHIN_S, ClosingStack
from piko.clock import Clock
from piko.errors import PayloadError, RegistrationError, SpoolError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.persistence.codec import check_keepable, detached, encode
from piko.persistence.delivery import Refused
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import ResultSink
from piko.persistence.sink_worker import SinkWorker
from piko.spool.intents import Spool, SpooledIntent

_COMMIT_S = 5.0
_SETTLE_S = 10.0

Spooled = tuple[str, str, WriteIntent | None]
"""On its way to disk: the sink, the intent as text, and a copy of it where there is a cheap one."""

log = get_logger(__name__)


class PersistenceWriter:
    """Takes intents from handlers and gives them to sinks in batches.

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
        self._lanes: dict[str, SinkWorker] = {}
        self._spool: Spool | None = None
        self._opening: asyncio.Task[Spool] | None = None
        self._make_spool: Callable[[], Spool] | None = None
        self._group: list[tuple[list[Spooled], asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._running = False
        self._abandoned = 0

    def register_sink(self, sink: ResultSink) -> None:
        """Make `sink` known under its name. Raises `RegistrationError` where that cannot work."""
        if not isinstance(sink, ResultSink):
            raise RegistrationError(
                f"register_sink({sink!r}): expected an instance of a subclass of ResultSink"
            )
        if sink.name in self._sinks:
            raise RegistrationError(
                f"sink {sink.name!r} is registered already; give one of them another name"
            )
        if self._running:
            raise RegistrationError(f"sink {sink.name!r}: register sinks before the app runs")
        self._sinks[sink.name] = sink

    def __len__(self) -> int:
        """Intents that are not delivered yet."""
        return sum(len(lane) for lane in self._lanes.values())

    @property
    def failing(self) -> dict[str, str]:
        """Sinks that refuse or hang now, and how."""
        return {name: lane.failing for name, lane in self._lanes.items() if lane.failing is not None}

    # ---- in ----------------------------------------------------------------------------------------

    async def enqueue(self, intent: WriteIntent) -> None:
        """Take `intent`; waits while its sink's queue is full.

        Raises `PayloadError` for an intent that its sink could never write or that no disk could keep, or
        whose sink is not registered, and `SpoolError` where a spooled intent cannot be put on disk: then it
        has not been taken.
        """
        lane = self._checked(intent)
        if not lane.keeps_on_disk and not lane.full:
            lane.put(intent)
            return
        await self._take(lane, [intent])

    async def enqueue_many(self, intents: Sequence[WriteIntent]) -> None:
        """Take `intents`, none before all are checked: those of a sink that go to disk share a write.

        Raises as `enqueue`; where it is a `SpoolError`, those of other sinks may have been taken.
        """
        lanes: dict[str, tuple[SinkWorker, list[WriteIntent]]] = {}
        for intent in intents:
            lane = self._checked(intent)
            lanes.setdefault(intent.sink, (lane, []))[1].append(intent)
        for lane, mine in lanes.values():
            await self._take(lane, mine)

    async def _take(self, lane: SinkWorker, intents: Sequence[WriteIntent]) -> None:
        """Into memory one by one, while there is room and the sink works; all others on disk, together."""
        for number, intent in enumerate(intents):
            while not lane.keeps_on_disk and lane.full:
                await lane.change()
            if lane.keeps_on_disk:
                await self._keep_or_wait(lane, intents[number:])
                return
            lane.put(intent)

    async def _keep_or_wait(self, lane: SinkWorker, intents: Sequence[WriteIntent]) -> None:
        await lane.secured()
        try:
            await self._keep(intents)
        except SpoolError:
            if lane.sink.durability == "spooled":
                raise
            for intent in intents:  # there is no disk: memory is all there is
                while lane.full:
                    await lane.change()
                lane.put(intent)

    def _checked(self, intent: WriteIntent) -> SinkWorker:
        lane = self._lane(intent)
        lane.sink.check(intent)
        check_keepable(intent, lane.models)
        return lane

    def _lane(self, intent: WriteIntent) -> SinkWorker:
        lane = self._lanes.get(intent.sink)
        if lane is not None and self._running:
            return lane
        if intent.sink in self._sinks:
            raise PayloadError(f"intent {intent.key!r} for sink {intent.sink!r}: the app does not run")
        known = ", ".join(self._sinks) or "none"
        raise PayloadError(
            f"intent {intent.key!r}: no sink {intent.sink!r} is registered; known are {known}; "
            "call app.writer.register_sink before the app runs"
        )

    async def _keep(self, intents: Sequence[WriteIntent]) -> None:
        rows = [
            (intent.sink, encode(intent, self._lanes[intent.sink].models), detached(intent))
            for intent in intents
        ]
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._group.append((rows, kept))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit(), name="spool commit")
        await kept

    async def _commit(self) -> None:
        """Put on disk what has arrived, and what arrives meanwhile, group by group."""
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
                    if sink in self._lanes:
                        self._lanes[sink].put_spooled(letters)

    # ---- its life ----------------------------------------------------------------------------------

    def prepare(
        self, *, folder: Path, fsync: bool, owner: str, refused: Refused = lambda _, __: None
    ) -> None:
        """Say where the spool is; `owner` names this process's file in it. Before `run`.

        `refused` hears of records that become dead letters: the sink, and the run of each.
        """
        self._make_spool = lambda: Spool(folder, name=owner, fsync=fsync)
        self._running = True
        for name, sink in self._sinks.items():
            self._lanes[name] = SinkWorker(
                sink, spool=self._opened, refused=refused, clock=self._clock, metrics=self._metrics
            )
        self._recovers = any(sink.durability == "spooled" for sink in self._sinks.values()) or (
            bool(self._sinks) and folder.is_dir()
        )

    async def run(self) -> None:
        """Deliver, until cancelled. Begins with what earlier processes have left in the spool."""
        if self._recovers:
            await self._opened()
            self._recovers = False
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes.values():
                group.create_task(lane.run(), name=f"sink {lane.sink.name}")
            if not self._lanes:
                await asyncio.Event().wait()

    async def drain(self, budget_s: float) -> None:
        """Deliver what is there within `budget_s` seconds; the rest goes to the spool for the next start."""
        for lane in self._lanes.values():
            lane.hurry()
        emptying = [asyncio.create_task(lane.emptied()) for lane in self._lanes.values()]
        if emptying:
            await asyncio.wait(emptying, timeout=budget_s)
        for task in emptying:
            task.cancel()

    async def settle(self) -> None:
        """Leave on disk what is not delivered, after `run` has ended; nothing is accepted any more."""
        self._running = False
        if self._committer is not None:
            await asyncio.wait({self._committer}, timeout=_COMMIT_S)
        settling = ClosingStack()
        for name, lane in self._lanes.items():
            settling.push(f"intents for sink {name}", lane.settle, within_s=_SETTLE_S)
        await settling.close_together()
        self._abandoned += sum(lane.abandoned for lane in self._lanes.values())
        self._lanes.clear()
        if self._spool is not None:
            await self._spool.close()
            self._spool = self._opening = None

    async def close(self, *, within_s: float = WITHIN_S) -> None:
        """Let go of what the sinks hold, after `settle`; each has `within_s` seconds, whatever others do."""
        closing = ClosingStack()
        for name, sink in self._sinks.items():
            closing.push(f"sink {name}", sink.close, within_s=within_s)
        await closing.close_together()
        self._abandoned += closing.abandoned

    @property
    def abandoned(self) -> int:
        """Writes and closings of sinks that went on, when the writer ended, although they were cancelled."""
        return self._abandoned

    async def _opened(self) -> Spool:
        """The spool, opened once: to its end, even if who asked for it is cancelled."""
        if self._opening is None or (self._opening.done() and self._spool is None):
            self._opening = asyncio.create_task(self._open(), name="open spool")
        return await asyncio.shield(self._opening)

    async def _open(self) -> Spool:
        assert self._make_spool is not None
        spool = self._make_spool()
        await spool.open()
        self._spool = spool
        for sink, count in (await spool.counts()).items():
            if sink in self._lanes:
                self._lanes[sink].recover(count)
                log.info("intents_recovered", sink=sink, intents=count)
            else:
                log.warning("intents_without_sink", sink=sink, intents=count)
        return spool
