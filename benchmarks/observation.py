"""What it costs to be seen: the log of a run that is kept, and a page that is open while runs go on.

    python -m benchmarks.observation                        # all four: a quarter of an hour
    python -m benchmarks.observation --only line            # a minute or two, also on a busy machine
    python -m benchmarks.observation --megabytes 100 --jobs 200 --seconds 10

**Log.** One run of a replica logs a gigabyte in lines of 1,000 bytes, with `log_capture = "off"` and with
`"all"`, in turns: processor seconds of the replica from the first line until the run is recorded, and the
bytes that the database keeps of it. What is written to the log of the process is thrown away.

**Line.** What a line of a run costs with and without a log that is kept, in processor time of its thread:
turns of 100 lines in one process, so that a busy machine is so for both. What it costs to settle the log
once a second is not in it.

**Runs.** The same with a tenth of these bytes, while `--due` jobs of one second have more due than the
replica can do: how many of their runs are recorded for each second of its processor, of which it has one,
and how many seconds it used. That count varies by a fifth from process to process. What the log costs of the
throughput is steadier as the difference that **Log** found, of the seconds that the replica used here.

**Page.** Jobs of one second run on a replica, in turns with nobody looking, and with `piko web` on the same
database and three pages in sight: each follows `/events` and renews itself as the page's own script does.
Processor time of the replica and of the database for each run that was recorded, and how late runs start. The
web server's own processor time is given beside it, since on two cores it is what the others lose.

Processor seconds hardly depend on what else the machine does; variants take turns on one server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from tests.harness.database_servers import DatabaseServer
from tests.harness.ports import free_port

from benchmarks.database import durable_mariadb
from benchmarks.line_cost import compare_lines
from benchmarks.load import Load, insert
from benchmarks.run_cost import processor_s

_LINE = 1000
_PAGES = ("", "jobs", "runs")
_AT_ONCE_S, _SELDOM_S = 0.3, 3.0
"""As in the page's script: how soon a page renews itself, and how often at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What one run cost that logged: processor seconds of its replica, bytes and lines that are kept.

    `others_per_s`: runs of other jobs that were recorded meanwhile, a second of the replica's processor.
    """

    cpu_s: float
    others_per_s: float
    kept_bytes: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One measurement of `benchmarks.load`, and processor µs of the database and of the web server a run."""

    load: Load
    database_us: float
    web_us: float

    @property
    def replica_us(self) -> float:
        return self.load.cpu / self.load.recorded_per_s * 1e6


# ---- a gigabyte of one run --------------------------------------------------------------------------


async def log_lines(dsn: str, *, capture: str, megabytes: int, due: int) -> Logged:
    """One run that logs `megabytes`, in this process, beside `due` other jobs of one second."""
    from sqlalchemy import case, func, select

    from piko import PikoApp
    from piko.observability.logs import configure_logging
    from piko.settings import load_settings
    from piko.store.engine import open_database
    from piko.store.schema.tables.run_logs import run_log
    from piko.store.schema.tables.runs import job_run
    from piko.store.schema.tables.schedules import scheduled_job

    # Thrown away, but written; what else goes wrong is said on stderr.
    nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: ASYNC230, SIM115 - as long as the process
    configure_logging(log_format="json", stream=nowhere)
    await insert(dsn, due, spread=True)
    app = PikoApp(name="benchmark")
    begun: list[float] = []
    text = "x" * (_LINE - 200)

    @app.job(job_id="talkative")
    async def talkative(ctx: Any, _scheduled_time: datetime) -> None:
        begun.append(time.process_time())
        for number in range(megabytes * 1_000_000 // _LINE):
            ctx.log.info("line", number=number, text=text)
            if number % 100 == 0:
                await asyncio.sleep(0)

    async def other(_ctx: Any, _scheduled_time: datetime) -> None: ...

    for number in range(due):
        app.job(job_id=f"job-{number}")(other)
    database = open_database(dsn)
    async with database.transaction() as connection:
        soon = datetime.fromtimestamp(time.time() + (15 if due else 5), UTC).isoformat()
        expression = json.dumps({"run_date": soon})
        row = {"job_id": "talkative", "schedule_type": "date", "schedule_expr": expression}
        await connection.execute(scheduled_job.insert(), [row])

    deadline = time.monotonic() + 60

    async def recorded() -> tuple[float, int, bool]:
        """Processor seconds, how many other runs are recorded by now, and whether the run that logs is."""
        it = job_run.c.job_id == "talkative"
        counts = func.count(), func.coalesce(func.sum(case((it, 1), else_=0)), 0)
        async with database.statements() as connection:
            found = select(*counts).where(job_run.c.state == "SUCCESS")
            count, own = (await connection.execute(found)).one()
        return time.process_time(), int(count) - int(own), bool(own)

    async with app.running(load_settings(environment={}, mysql_dsn=dsn, log_capture=capture)):
        while not begun:
            await asyncio.sleep(0.05)
            if time.monotonic() > deadline:
                raise RuntimeError("the run did not start within a minute")
        first = now = await recorded()
        while not now[2]:
            await asyncio.sleep(0.5)
            now = await recorded()
        cpu_s = time.process_time() - begun[0]
    columns = run_log.c
    kept = select(func.length(columns.head) + func.length(columns.tail), columns.left_out)
    async with database.statements() as connection:
        rows = (await connection.execute(kept)).all()
    await database.close()
    kept_bytes, left_out = rows[0] if rows else (0, 0)
    others_per_s = (now[1] - first[1]) / max(now[0] - first[0], 0.001)
    return Logged(cpu_s=cpu_s, others_per_s=others_per_s, kept_bytes=int(kept_bytes), left_out=int(left_out))


async def compare_capture(server: DatabaseServer, *, megabytes: int, due: int, repeats: int) -> None:
    """With `due`, runs a second of other jobs, else processor time of the run that logs."""
    found: dict[str, list[Logged]] = {"off": [], "all": []}
    for _ in range(repeats):
        for capture, costs in found.items():
            dsn = (await server.create_database()).dsn
            child = await _child(
                "--log", dsn, "--capture", capture, "--megabytes", str(megabytes), "--due", str(due)
            )
            costs.append(Logged(**child))
    of, what = (_others_per_s, "other runs a second of processor") if due else (_cpu_s, "s of processor")
    first = statistics.median(map(of, found["off"]))
    for capture, costs in found.items():
        cost = statistics.median(map(of, costs))
        print(
            f"log_capture={capture:<4} {megabytes:,} MB of one run: {cost:8,.1f} {what} ({cost / first:.3f})"
            f"   kept {costs[-1].kept_bytes:,} bytes, {costs[-1].left_out:,} lines not;"
            f"   replica {statistics.median(map(_cpu_s, costs)):,.1f} s of processor",
            flush=True,
        )


def _cpu_s(one: Logged) -> float:
    return one.cpu_s


def _others_per_s(one: Logged) -> float:
    return one.others_per_s


# ---- pages in sight ---------------------------------------------------------------------------------


async def in_sight(web: httpx.AsyncClient, address: str) -> None:
    """A page in a browser: it is read, then follows the events, and is read again when one comes."""
    changed = asyncio.Event()

    async def renew() -> None:
        while True:
            (await web.get(f"/{address}")).raise_for_status()
            renewed = time.monotonic()
            await changed.wait()
            await asyncio.sleep(max(_AT_ONCE_S, renewed + _SELDOM_S - time.monotonic()))
            changed.clear()

    renewing = asyncio.create_task(renew())
    try:
        async with web.stream("GET", "/api/v1/events", timeout=None) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data:"):
                    changed.set()
                if renewing.done():
                    renewing.result()
    finally:
        renewing.cancel()


@asynccontextmanager
async def pages(dsn: str) -> AsyncIterator[int]:
    """`piko web` on the database with three pages in sight; its process."""
    port = free_port()
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "piko", "web"),
        env={**os.environ, "PIKO_MYSQL_DSN": dsn, "PIKO_WEB_HOST": "127.0.0.1", "PIKO_WEB_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as web:
            await _until_answered(web)
            readers = [asyncio.create_task(in_sight(web, address)) for address in _PAGES]
            try:
                yield server.pid
                for reader in readers:
                    if reader.done():
                        reader.result()
            finally:
                for reader in readers:
                    reader.cancel()
                await asyncio.gather(*readers, return_exceptions=True)
    finally:
        server.terminate()
        await asyncio.wait_for(server.wait(), 30)


async def _until_answered(web: httpx.AsyncClient) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if (await web.get("/readyz")).is_success:
                return
        await asyncio.sleep(0.2)
    raise RuntimeError("piko web did not become ready within 60 s")


async def watched(server: DatabaseServer, *, jobs: int, seconds: float, looked_at: bool) -> Watched:
    """One measurement of `benchmarks.load`, with or without pages in sight."""
    dsn = (await server.create_database()).dsn
    await insert(dsn, jobs, spread=False)
    async with AsyncExitStack() as stack:
        pid = await stack.enter_async_context(pages(dsn)) if looked_at else None
        used = [_meter(server.pid), _meter(pid)]
        begin = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.load", "--measure", dsn]
        command += ["--jobs", str(jobs), "--seconds", str(seconds)]
        child = await asyncio.to_thread(
            subprocess.run, command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        took = time.monotonic() - begin
        database_s, web_s = (meter() for meter in used)
    load = Load(**json.loads(child.stdout))
    runs = load.recorded_per_s * took
    return Watched(load=load, database_us=database_s / runs * 1e6, web_us=web_s / runs * 1e6)


def _meter(pid: int | None) -> Callable[[], float]:
    if pid is None:
        return lambda: 0.0
    before = processor_s(pid)
    return lambda: processor_s(pid) - before


async def compare_pages(server: DatabaseServer, *, jobs: int, seconds: float, repeats: int) -> None:
    found: dict[str, list[Watched]] = {"nobody looks": [], "three pages": []}
    for _ in range(repeats):
        for name, several in found.items():
            one = await watched(server, jobs=jobs, seconds=seconds, looked_at=name != "nobody looks")
            several.append(one)
    first = found["nobody looks"]
    for name, several in found.items():
        parts = [
            f"{part} {_median(several, of):,.0f} µs ({_median(several, of) / _median(first, of):.3f})"
            for part, of in (("replica", _replica_us), ("database", _database_us))
        ]
        landed = sum(one.load.landed for one in several) / sum(one.load.due for one in several)
        delay = statistics.median(one.load.delays_ms["p50"] for one in several)
        print(
            f"{name:<13} {jobs:,} jobs a second: a run costs {', '.join(parts)},"
            f" web {_median(several, _web_us):,.0f} µs; landed {landed:.2%},"
            f" recorded {statistics.median(one.load.recorded_per_s for one in several):,.0f}/s,"
            f" start delay {delay:.0f} ms",
            flush=True,
        )


def _replica_us(one: Watched) -> float:
    return one.replica_us


def _database_us(one: Watched) -> float:
    return one.database_us


def _web_us(one: Watched) -> float:
    return one.web_us


def _median(several: Sequence[Watched], of: Callable[[Watched], float]) -> float:
    return statistics.median(of(one) for one in several)


async def _child(*options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.observation", *options]
    child = await asyncio.to_thread(subprocess.run, command, check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return found


async def _logged(options: argparse.Namespace) -> Logged:
    return await log_lines(options.log, capture=options.capture, megabytes=options.megabytes, due=options.due)


async def compare(options: argparse.Namespace) -> None:
    async with durable_mariadb() as server:
        if not options.only or options.only == "log":
            await compare_capture(server, megabytes=options.megabytes, due=0, repeats=options.repeats)
        if not options.only or options.only == "runs":
            tenth = max(options.megabytes // 10, 1)
            await compare_capture(server, megabytes=tenth, due=options.due, repeats=options.repeats)
        if not options.only or options.only == "page":
            await compare_pages(server, jobs=options.jobs, seconds=options.seconds, repeats=options.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--due", type=int, default=6000, help="jobs of one second beside a run that logs")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("line", "log", "runs", "page"))
    parser.add_argument("--turns", type=int, default=3000, help="turns of 100 lines")
    parser.add_argument("--log", help=argparse.SUPPRESS)
    parser.add_argument("--capture", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.log:
        print(json.dumps(asdict(asyncio.run(_logged(options)))))
        return
    if options.only in (None, "line"):
        compare_lines(turns=options.turns)
    if options.only != "line":
        asyncio.run(compare(options))


if __name__ == "__main__":
    main()
