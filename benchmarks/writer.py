"""How fast intents travel: into memory, onto disk, into MariaDB; and what a million of them weigh.

Run it with `python -m benchmarks.writer --dsn mysql+asyncmy://…` (a database that may be written to), or
without a DSN for the parts that need none. `--kill` kills ten processes with kill -9, each
after it has had 100,000 spooled intents acknowledged, and counts what arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Column, Integer, MetaData, String, Table, text
from sqlalchemy.ext.asyncio import create_async_engine

from piko.clock import SystemClock
from piko.observability.metrics import Metrics
from piko.persistence.intent import WriteIntent
from piko.persistence.sink_base import ResultSink
from piko.persistence.sinks import SqlTableSink
from piko.persistence.writer import PersistenceWriter

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Nowhere(ResultSink):
    """Counts, and forgets."""

    count = 0
    pause_s = 0.0

    async def write_batch(self, batch: list[WriteIntent]) -> None:
        if self.pause_s:
            await asyncio.sleep(self.pause_s)
        self.count += len(batch)


@asynccontextmanager
async def running(sink: ResultSink, folder: Path, owner: str = "bench") -> AsyncIterator[PersistenceWriter]:
    writer = PersistenceWriter(clock=SystemClock(), metrics=Metrics())
    writer.register_sink(sink)
    writer.prepare(folder=folder, fsync=True, owner=owner)
    task = asyncio.create_task(writer.run())
    yield writer
    await writer.drain(300)
    task.cancel()
    await asyncio.wait({task})
    await writer.settle()
    await writer.close()


def intent(number: int, sink: str = "sink") -> WriteIntent:
    return WriteIntent(
        sink=sink,
        key=str(number),
        payload={"id": number, "name": "order", "amount": number * 3},
        job_id="load",
        run_id="01a20b7ad103cb2acb6e352eb41bb025",
        scheduled_time=AT,
    )


async def memory(folder: Path, count: int) -> None:
    sink = Nowhere("sink", batch_size=1000)
    intents = [intent(number) for number in range(count)]
    begun = time.perf_counter()
    async with running(sink, folder) as writer:
        for item in intents:
            await writer.enqueue(item)
        await writer.drain(60)
        took = time.perf_counter() - begun
    assert sink.count == count
    print(f"memory, no-op sink:           {count / took:>10,.0f} intents/s")


async def spooled(folder: Path, count: int, size: int, handlers: int = 1) -> None:
    sink = Nowhere("sink", batch_size=1000, durability="spooled")
    batches = [[intent(n) for n in range(at, at + size)] for at in range(0, count, size)]
    begun = time.perf_counter()
    async with running(sink, folder) as writer:

        async def handler(mine: list[list[WriteIntent]]) -> None:
            for batch in mine:
                await writer.enqueue_many(batch)

        await asyncio.gather(*(handler(batches[number::handlers]) for number in range(handlers)))
        accepted = time.perf_counter() - begun
        await writer.drain(60)
        took = time.perf_counter() - begun
    assert sink.count == count
    print(
        f"spooled, {handlers:>3} x {size:>4} together: {count / accepted:>10,.0f} acknowledged/s"
        f"{count / took:>10,.0f} delivered/s"
    )


async def table(folder: Path, dsn: str, count: int) -> None:
    engine = create_async_engine(dsn)
    metadata = MetaData()
    by_hand = Table(
        "by_hand",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", String(20)),
        Column("amount", Integer),
    )
    Table(
        "through",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("name", String(20)),
        Column("amount", Integer),
    )
    async with engine.begin() as connection:
        await connection.run_sync(metadata.drop_all)
        await connection.run_sync(metadata.create_all)
    rows = [intent(number).payload for number in range(count)]
    begun = time.perf_counter()
    for at in range(0, count, 1000):
        async with engine.begin() as connection:
            await connection.execute(by_hand.insert(), rows[at : at + 1000])
    hand = time.perf_counter() - begun
    intents = [intent(number) for number in range(count)]
    begun = time.perf_counter()
    sink = SqlTableSink("sink", dsn=dsn, table="through", batch_size=1000)
    async with running(sink, folder) as writer:
        for item in intents:
            await writer.enqueue(item)
        await writer.drain(300)
        took = time.perf_counter() - begun
    async with engine.connect() as connection:
        assert (await connection.execute(text("SELECT COUNT(*) FROM through"))).scalar_one() == count
        await connection.run_sync(metadata.drop_all)
    await engine.dispose()
    print(f"table, Core insert by hand:   {count / hand:>10,.0f} rows/s")
    print(f"table, SqlTableSink (upsert): {count / took:>10,.0f} rows/s   {hand / took:.0%} of by hand")


async def slow_sink(folder: Path, count: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sink = Nowhere("sink", batch_size=5000, queue_size=10_000)
    sink.pause_s = 0.01
    async with running(sink, folder) as writer:
        for number in range(count):
            await writer.enqueue(intent(number))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{count:,} through a slow sink, queue of 10,000: {(after - before) / 1024:.0f} MB more at the peak"
    )


async def produce(folder: Path, owner: str, evidence: str) -> None:
    """One life of the kill test: acknowledges on stdout, and writes what it delivered to `evidence`."""
    seen = os.open(evidence, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    class Evident(Nowhere):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            await asyncio.sleep(0.02)
            os.write(seen, "".join(f"{item.key}\n" for item in batch).encode())

    async with running(Evident("sink", durability="spooled", batch_size=200), folder, owner) as writer:
        number = 0
        while True:
            batch = [intent(n) for n in range(number, number + 100)]
            for item in batch:
                item.key = f"{owner}:{item.key}"
            await writer.enqueue_many(batch)
            number += 100
            os.write(1, f"{number}\n".encode())


async def deliver(folder: Path, evidence: str, promised: int) -> None:
    seen = os.open(evidence, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    class Evident(Nowhere):
        async def write_batch(self, batch: list[WriteIntent]) -> None:
            os.write(seen, "".join(f"{item.key}\n" for item in batch).encode())

    async with running(Evident("sink", durability="spooled", batch_size=1000), folder, "last") as writer:
        while not len(writer):  # a killed producer leaves much behind; it is taken over first
            await asyncio.sleep(0.05)
        await writer.drain(300)
    print(f"delivered after the last start; {promised:,} were promised in all")


def kill(folder: Path, lives: int, per_life: int) -> None:
    """Kill a producer in the middle, `lives` times, each after `per_life` acknowledged intents."""
    evidence = folder / "evidence"
    promised: set[str] = set()
    for life in range(lives):
        command = [
            sys.executable,
            "-m",
            "benchmarks.writer",
            "--produce",
            f"life{life}",
            "--folder",
            str(folder),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged = 0
        for line in process.stdout:
            if not line.strip().isdigit():  # a line of the log
                continue
            acknowledged = int(line)
            if acknowledged == per_life:
                process.send_signal(signal.SIGKILL)
        process.wait()
        promised |= {f"life{life}:{number}" for number in range(acknowledged)}
        delivered = len(set(evidence.read_text().split())) if evidence.exists() else 0
        print(
            f"life {life}: {acknowledged:,} acknowledged, {delivered:,} of all delivered at the kill",
            flush=True,
        )
    asyncio.run(deliver(folder / "spool", str(evidence), len(promised)))
    arrived = evidence.read_text().split()
    missing = promised - set(arrived)
    twice = len(arrived) - len(set(arrived))
    print(f"{len(promised):,} acknowledged, {len(missing)} lost, {twice:,} delivered twice")
    assert not missing


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--dsn")
    arguments.add_argument("--count", type=int, default=200_000)
    arguments.add_argument("--kill", action="store_true")
    arguments.add_argument("--produce")
    arguments.add_argument("--folder", type=Path)
    given = arguments.parse_args()
    if given.produce:
        asyncio.run(produce(given.folder / "spool", given.produce, str(given.folder / "evidence")))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.kill:
            kill(folder, lives=10, per_life=100_000)
            return
        asyncio.run(memory(folder / "a", given.count))
        for handlers, size in ((1, 1), (200, 1), (1, 100), (10, 100), (1, 1000)):
            count = given.count if handlers * size > 1 else 5_000
            asyncio.run(spooled(folder / f"s{handlers}-{size}", count, size, handlers))
        if given.dsn:
            asyncio.run(table(folder / "t", given.dsn, given.count))
        asyncio.run(slow_sink(folder / "m", 1_000_000))


if __name__ == "__main__":
    main()
