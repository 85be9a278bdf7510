"""`app.writer`: intents in, batches out.

What `enqueue` returning means depends on the sink: `memory`, it is in the queue; `spooled`, it is on disk.
Intents for the disk that arrive while one write is in progress share the next one.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from piko.clock import Clock
from piko.errors import PayloadError, RegistrationError, SpoolError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.persistence.codec import detached, encode
from piko.persistence.intent import WriteIntent
from piko.persistence.lane import Lane
from piko.persistence.sink_base import ResultSink
from piko.store.spool import Kept, Spool

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
        self._lanes: dict[str, Lane] = {}
        self._spool: Spool | None = None
        self._opening: asyncio.Lock | None = None
        self._make_spool: Callable[[], Spool] | None = None
        self._group: list[tuple[list[Spooled], asyncio.Future[None]]] = []
        self._committer: asyncio.Task[None] | None = None
        self._running = False

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

        Raises `PayloadError` for an intent that its sink could never write, or whose sink is not registered,
        and `SpoolError` where a spooled intent cannot be put on disk: then it has not been taken.
        """
        lane = self._lane(intent)
        lane.sink.check(intent)
        if lane.sink.durability == "memory":
            if lane.full:
                await lane.room()
            lane.put(intent)
            self._metrics.persistence_intents.labels(intent.sink, "accepted").inc()
            return
        await self._keep([intent])

    async def enqueue_many(self, intents: Sequence[WriteIntent]) -> None:
        """Take `intents` together: all that are spooled share one write to the disk. Raises as `enqueue`."""
        spooled = []
        for intent in intents:
            lane = self._lane(intent)
            if lane.sink.durability == "memory":
                await self.enqueue(intent)
                continue
            lane.sink.check(intent)
            spooled.append(intent)
        if spooled:
            await self._keep(spooled)

    def _lane(self, intent: WriteIntent) -> Lane:
        lane = self._lanes.get(intent.sink)
        if lane is not None:
            return lane
        if intent.sink in self._sinks:
            raise PayloadError(f"intent {intent.key!r} for sink {intent.sink!r}: the app does not run")
        known = ", ".join(self._sinks) or "none"
        raise PayloadError(
            f"intent {intent.key!r}: no sink {intent.sink!r} is registered; known are {known}; "
            "call app.writer.register_sink before the app runs"
        )

    async def _keep(self, intents: Sequence[WriteIntent]) -> None:
        rows = [(intent.sink, encode(intent), detached(intent)) for intent in intents]
        kept: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._group.append((rows, kept))
        if self._committer is None or self._committer.done():
            self._committer = asyncio.create_task(self._commit(), name="spool commit")
        await kept
        for sink, count in Counter(sink for sink, _, _ in rows).items():
            self._metrics.persistence_intents.labels(sink, "accepted").inc(count)

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
                arrived: dict[str, list[tuple[Kept, WriteIntent | None]]] = {}
                for number, (sink, body, copy) in zip(ids, rows, strict=True):
                    arrived.setdefault(sink, []).append((Kept(number, body), copy))
                for sink, letters in arrived.items():
                    if sink in self._lanes:
                        self._lanes[sink].put_spooled(letters)

    # ---- its life ----------------------------------------------------------------------------------

    def prepare(self, *, folder: Path, fsync: bool, owner: str) -> None:
        """Say where the spool is; `owner` names this process's file in it. Before `run`."""
        self._make_spool = lambda: Spool(folder, name=owner, fsync=fsync)
        self._opening = asyncio.Lock()
        self._running = True
        for name, sink in self._sinks.items():
            self._lanes[name] = Lane(sink, spool=self._opened, clock=self._clock, metrics=self._metrics)
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

    async def close(self) -> None:
        """Keep what is left, after `run` has ended; nothing is accepted any more."""
        if self._committer is not None:
            await asyncio.wait({self._committer})
        for lane in self._lanes.values():
            try:
                spilled = await lane.spill()
            except (SpoolError, PayloadError) as error:
                log.error("intents_lost", sink=lane.sink.name, intents=len(lane), error=str(error))
            else:
                if spilled:
                    log.info("intents_spilled", sink=lane.sink.name, intents=spilled)
            await lane.sink.close()
        self._lanes.clear()
        self._running = False
        if self._spool is not None:
            await self._spool.close()
            self._spool = None

    async def _opened(self) -> Spool:
        assert self._opening is not None
        assert self._make_spool is not None
        async with self._opening:
            if self._spool is None:
                spool = self._make_spool()
                await spool.open()
                self._spool = spool
                for sink, count in (await spool.counts()).items():
                    if sink in self._lanes:
                        self._lanes[sink].note_on_disk(count)
                        self._metrics.persistence_recovered.labels(sink).inc(count)
                        log.info("intents_recovered", sink=sink, intents=count)
                    else:
                        log.warning("intents_without_sink", sink=sink, intents=count)
            return self._spool
