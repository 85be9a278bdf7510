"""A writer that runs, and sinks that remember."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from piko.clock import Clock, SystemClock
from piko.observability.metrics import Metrics
from piko.persistence.intent import WriteIntent
from piko.persistence.letter import SecretsOf
from piko.persistence.sink_base import ResultSink
from piko.persistence.writer import PersistenceWriter
from piko.tracing.traces import NO_TRACES, Traces
from tests.harness.waiting import PATIENCE_S

AT = datetime(2026, 1, 8, 10, tzinfo=UTC)


def intent(key: object, payload: Any = None, *, sink: str = "memory") -> WriteIntent:
    return WriteIntent(
        sink=sink, key=str(key), payload=payload, job_id="load", run_id="r1", scheduled_time=AT
    )


class Remembering(ResultSink):
    """Keeps what it was given; refuses the keys in `refuses`, everything while it is `down`, or hangs."""

    def __init__(self, name: str = "memory", **options: Any) -> None:
        super().__init__(name, **{"backoff_s": 0.01, "max_backoff_s": 0.05, "linger_s": 0.005, **options})
        self.batches: list[list[WriteIntent]] = []
        self.refuses: set[str] = set()
        self.down = False
        self.hangs = False
        self.released = asyncio.Event()
        """Lets go what hangs, and it is written."""
        self.called = 0

    @property
    def keys(self) -> list[str]:
        return [item.key for batch in self.batches for item in batch]

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        self.called += 1
        if self.hangs:
            await self.released.wait()
        if self.down:
            raise ConnectionError("the sink is down")
        bad = [item.key for item in batch if item.key in self.refuses]
        if bad:
            raise ValueError(f"cannot write {', '.join(bad)}")
        self.batches.append(batch)


@asynccontextmanager
async def running(
    *sinks: ResultSink,
    folder: Path,
    owner: str = "one",
    budget_s: float = PATIENCE_S,
    close_s: float = PATIENCE_S,
    secrets_of: SecretsOf = lambda _: (),
    clock: Clock | None = None,
    traces: Traces = NO_TRACES,
) -> AsyncIterator[tuple[PersistenceWriter, Metrics]]:
    """A writer as the runtime runs it. A test that leaves something undelivered names its `budget_s`."""
    metrics = Metrics()
    writer = PersistenceWriter(clock=clock or SystemClock(), metrics=metrics)
    for sink in sinks:
        writer.register_sink(sink)
    writer.prepare(folder=folder, fsync=True, owner=owner, secrets_of=secrets_of, traces=traces)
    task = asyncio.create_task(writer.run())
    try:
        yield writer, metrics
    finally:
        await writer.drain(budget_s)
        task.cancel()
        await asyncio.wait({task})
        await writer.settle()
        await writer.close(within_s=close_s)


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(name, labels) or 0.0


def spool_files(folder: Path) -> list[Path]:
    return list(folder.glob("*.spool"))
