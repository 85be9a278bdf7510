"""A scrape of a replica whose jobs have all run: series, bytes, processor, memory, and who waits for it.

    python -m benchmarks.metrics                       # 10,000 jobs, about three minutes
    python -m benchmarks.metrics --jobs 2000 --scrapes 3

A private MariaDB and a real replica are started for it, on the same machine. The jobs run every 40 seconds,
spread over them, and go on while the replica is scraped, with `metrics_per_job` as `summary`, `auto` and
`all` in turn. The first scrape is made when the database has recorded a success of every job.

- **processor**: of the threads that encode the scrape and send it, while it is under way. `/healthz` is asked
  every 20 ms meanwhile, which is in it.
- **memory**: the greatest resident size while scraped, less what it was before the first scrape.
- **/healthz**: the answer that 1 in 100 exceeds, and the longest, with a pause of 20 ms between two.
- **loop lag**: the longest delay of a task on the jobs' event loop.

The first line has both without a scrape, for what the machine and the jobs themselves do to them.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tests.harness.ports import free_port

from benchmarks.database import durable_mariadb
from benchmarks.schedules import Heartbeat

_MODES = ("summary", "auto", "all")
_PERIOD_S = 40
_PROBE_EVERY_S = 0.02
_BETWEEN_S = 1.0
_LONGEST_S = 150
"""How long it may take until every job has run; longer on this machine is an error."""
_ANSWER_S = 60
_ACCEPT = {"Accept": "text/plain;version=0.0.4"}


class Answers(NamedTuple):
    """How long answers took, in ms."""

    p99: float
    longest: float

    def __str__(self) -> str:
        return f"p99 {self.p99:3.0f}, longest {self.longest:3.0f} ms"


_NOT_ASKED = Answers(0.0, 0.0)


@dataclass(slots=True, kw_only=True)
class Seen:
    """What some scrapes of one kind cost; `series` and `size` in bytes are of the last."""

    series: int = 0
    size: int = 0
    cpu_s: float = 0.0
    """Of the dearest scrape."""
    took_s: float = 0.0
    """Of the slowest scrape."""
    added_mb: float = 0.0
    healthz_ms: Answers = _NOT_ASKED
    lag_ms: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.series:>8,} series {self.size / 1e6:6.1f} MB  processor {self.cpu_s:5.2f} s  "
            f"took {self.took_s:5.2f} s  memory +{self.added_mb:4.0f} MB  "
            f"/healthz {self.healthz_ms}  loop lag {self.lag_ms:4.0f} ms"
        )


# ---- the replica ------------------------------------------------------------------------------------


def replica(jobs: int) -> None:
    """A replica with `jobs` jobs and one that measures the event loop; answers commands at its stdin.

    Each line is a command, answered by one line of JSON: a mode sets `metrics_per_job`; `look` says what was
    measured since the last `look`.
    """
    from piko import PikoApp

    app, heartbeat = PikoApp(name="benchmark"), Heartbeat()

    async def handler(_ctx: Any, _scheduled_time: datetime) -> None: ...

    for number in range(jobs):
        app.job(job_id=f"job-{number}")(handler)

    @app.job(job_id="heartbeat")
    async def beats(_ctx: Any, _scheduled_time: datetime) -> None:
        await heartbeat.beat()

    def answer() -> None:
        for line in sys.stdin:
            if (command := line.strip()) in _MODES:
                app.metrics.per_job = command  # type: ignore[assignment]
            worst_s, heartbeat.worst_s = heartbeat.worst_s, 0.0
            # Not `print`: what is printed becomes an event of the log.
            os.write(1, json.dumps({"lag_s": worst_s, "cpu_s": _cpu_of_scrapes_s()}).encode() + b"\n")

    threading.Thread(target=answer, name="commands", daemon=True).start()
    app.run()


def _cpu_of_scrapes_s() -> float:
    """Processor seconds of the threads that encode and send, as the kernel's scheduler counts them."""
    threads = [each for each in threading.enumerate() if each.name.startswith(("piko-metrics", "piko-http"))]
    spent = (Path(f"/proc/self/task/{each.native_id}/schedstat").read_text() for each in threads)
    return sum(int(text.split()[0]) for text in spent) / 1e9


async def insert(dsn: str, jobs: int) -> None:
    """The tables, with `jobs` schedules that are spread over their period, and that of the heartbeat."""
    from piko.store.engine import open_database
    from piko.store.schema.migrate import upgrade
    from piko.store.schema.tables.schedules import scheduled_job

    await upgrade(dsn)
    database = open_database(dsn)
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    values = []
    for number in range(jobs):
        start = begin + timedelta(seconds=number % (_PERIOD_S * 10) / 10)
        expression = {"seconds": _PERIOD_S, "start_date": start.isoformat()}
        values.append({"job_id": f"job-{number}", "schedule_expr": json.dumps(expression)})
    values.append({"job_id": "heartbeat", "schedule_expr": '{"seconds": 1}'})
    for first in range(0, len(values), 5000):
        rows = [{"schedule_type": "interval", **value} for value in values[first : first + 5000]]
        async with database.transaction() as connection:
            await connection.execute(scheduled_job.insert(), rows)
    await database.close()


async def all_have_run(dsn: str, jobs: int, child: Child) -> None:
    """Return when a success of each job is recorded. Raises `RuntimeError` where that takes too long."""
    from sqlalchemy import distinct, func, select

    from piko.store.engine import open_database
    from piko.store.schema.tables.runs import job_run

    database, deadline = open_database(dsn), time.monotonic() + _LONGEST_S
    statement = select(func.count(distinct(job_run.c.job_id))).where(job_run.c.state == "SUCCESS")
    found = 0
    while found < jobs:
        await asyncio.sleep(2)
        async with database.statements() as connection:
            found = int((await connection.execute(statement)).scalar_one())
        if not child.running:
            raise RuntimeError("the replica has ended; with --verbose it says why")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{found:,} of {jobs:,} jobs have run in {_LONGEST_S} s; ask for fewer --jobs")
    await database.close()


# ---- who looks --------------------------------------------------------------------------------------


class Child:
    """The replica as a process, and its answers."""

    def __init__(self, dsn: str, jobs: int, *, verbose: bool) -> None:
        self.port = free_port()
        environment = {**os.environ, "PIKO_MYSQL_DSN": dsn, "PIKO_HTTP_HOST": "127.0.0.1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.metrics", "--replica", "--jobs", str(jobs)],
            env={**environment, "PIKO_HTTP_PORT": str(self.port)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if verbose else subprocess.DEVNULL,
            text=True,
        )

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def ask(self, command: str) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith('{"lag_s"'):
                answer: dict[str, float] = json.loads(line)
                return answer
        raise RuntimeError("the replica has ended")

    def memory_mb(self, name: str) -> float:
        """`VmRSS`, or the greatest since `forget_peak`, `VmHWM`."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

    def forget_peak(self) -> None:
        Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


class Prober:
    """Asks `/healthz` again and again in a thread."""

    def __init__(self, port: int) -> None:
        self._took_s: list[float] = []
        self._port = port
        self._stop = threading.Event()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        thread = threading.Thread(target=self._ask, name="prober")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def forget(self) -> None:
        """Begin again: `answers_ms` is about those that come."""
        self._took_s = []

    @property
    def answers_ms(self) -> Answers:
        took_ms = sorted(took_s * 1000 for took_s in list(self._took_s))
        return Answers(took_ms[len(took_ms) * 99 // 100], took_ms[-1])

    def _ask(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_ANSWER_S)
        while not self._stop.wait(_PROBE_EVERY_S):
            began = time.perf_counter()
            connection.request("GET", "/healthz")
            connection.getresponse().read()
            self._took_s.append(time.perf_counter() - began)
        connection.close()


def look(child: Child, prober: Prober, *, mode: str, scrapes: int, before_mb: float) -> Seen:
    """Scrape so often."""
    child.ask(mode)
    child.forget_peak()
    prober.forget()
    seen = Seen()
    for _ in range(scrapes):
        cpu_s, began = child.ask("look")["cpu_s"], time.perf_counter()
        body = _scrape(child.port)
        seen.took_s = max(seen.took_s, time.perf_counter() - began)
        found = child.ask("look")
        seen.cpu_s = max(seen.cpu_s, found["cpu_s"] - cpu_s)
        seen.lag_ms = max(seen.lag_ms, found["lag_s"] * 1000)
        seen.size = len(body)
        seen.series = sum(not line.startswith(b"#") for line in body.splitlines())
        time.sleep(_BETWEEN_S)
    seen.healthz_ms = prober.answers_ms
    seen.added_mb = child.memory_mb("VmHWM") - before_mb
    return seen


def _scrape(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_S)
    connection.request("GET", "/metrics", headers=_ACCEPT)
    body = connection.getresponse().read()
    connection.close()
    return body


async def measure(jobs: int, *, scrapes: int, verbose: bool) -> None:
    """All of it, with a line for each way."""
    async with durable_mariadb() as server:
        dsn = (await server.create_database()).dsn
        await insert(dsn, jobs)
        child = Child(dsn, jobs, verbose=verbose)
        try:
            await all_have_run(dsn, jobs, child)
            await asyncio.to_thread(_look_in_each_way, child, scrapes)
        finally:
            child.end()


def _look_in_each_way(child: Child, scrapes: int) -> None:
    prober = Prober(child.port)
    with prober.at_work():
        child.ask("look")
        time.sleep(scrapes * 2 * _BETWEEN_S)
        quiet = Seen(lag_ms=child.ask("look")["lag_s"] * 1000, healthz_ms=prober.answers_ms)
        print(f"no scrape  /healthz {quiet.healthz_ms}  loop lag {quiet.lag_ms:4.0f} ms", flush=True)
        before_mb = child.memory_mb("VmRSS")
        for mode in _MODES:
            print(
                f"{mode:<9}", look(child, prober, mode=mode, scrapes=scrapes, before_mb=before_mb), flush=True
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--scrapes", type=int, default=5)
    parser.add_argument("--verbose", action="store_true", help="with the log of the replica")
    parser.add_argument("--replica", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.replica:
        replica(options.jobs)
        return
    print(f"load of the machine: {' '.join(f'{each:.1f}' for each in os.getloadavg())}", flush=True)
    asyncio.run(measure(options.jobs, scrapes=options.scrapes, verbose=options.verbose))


if __name__ == "__main__":
    main()
