"""Interval jobs on one replica: how many due runs start, how late, and how many are recorded a second.

    python -m benchmarks.load                       # 50, 500 and 1,000 jobs at once, 5,000 and 8,000 spread
    python -m benchmarks.load --jobs 500 --seconds 60
    python -m benchmarks.load --jobs 500 --latency 0.5   # each question to the server is held up so long
    python -m benchmarks.load --jobs 50 --latency 0.5 --before ../other-checkout   # beside it, in turns

A private MariaDB that flushes each COMMIT to disk is started for it, on the same machine. Each measurement is
a process of its own, with the log of every run as a container writes it. A run counts as recorded when its
outcome is committed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.harness.database_servers import ServerKind
from tests.store.cutting import cuttable

from benchmarks.database import durable_server

_ROOT = Path(__file__).parents[1]
_RAMP_S = 3.0
_RAMP_QUESTIONS = 40
"""What is asked until a replica knows how slow its database is: first rounds of its loop, and connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What one replica did under `jobs` jobs of one second, in `seconds` seconds after a ramp."""

    jobs: int
    seconds: float
    due: int
    landed: int
    """Due times that a handler was called for."""
    delays_ms: dict[str, float]
    """From the due time to the first line of the handler."""
    recorded_per_s: float
    cpu: float
    """Processor seconds of the replica for each second."""

    def __str__(self) -> str:
        delays = "  ".join(f"{name} {value:.0f}" for name, value in self.delays_ms.items())
        return (
            f"{self.jobs:>6,} jobs  landed {self.landed / self.due:7.2%} of {self.due:,}  "
            f"start delay in ms: {delays}  recorded {self.recorded_per_s:,.0f}/s  processor {self.cpu:.0%}"
        )


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Median, p90, p99 and the greatest."""
    ordered = sorted(values)
    marks = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
    found = {name: ordered[min(int(len(ordered) * part), len(ordered) - 1)] for name, part in marks.items()}
    return {**found, "max": ordered[-1]}


def medians(loads: Sequence[Load]) -> Load:
    """One measurement for several of the same kind: sums of what was due and landed, else medians."""
    first = loads[0]
    return Load(
        jobs=first.jobs,
        seconds=first.seconds,
        due=sum(load.due for load in loads),
        landed=sum(load.landed for load in loads),
        delays_ms={
            name: statistics.median(load.delays_ms[name] for load in loads) for name in first.delays_ms
        },
        recorded_per_s=statistics.median(load.recorded_per_s for load in loads),
        cpu=statistics.median(load.cpu for load in loads),
    )


async def insert(dsn: str, jobs: int, *, spread: bool, each: bool = False) -> None:
    """The tables, with `jobs` schedules of one second that are due together, or `spread` in tenths.

    `each`: what comes due late runs too, one after the other.
    """
    from piko.store.engine import open_database
    from piko.store.schema.migrate import upgrade
    from piko.store.schema.tables.schedules import scheduled_job

    await upgrade(dsn)
    database = open_database(dsn)
    values = []
    for number in range(jobs):
        start = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number % 10 / 10 if spread else 0)
        expression = {"seconds": 1, "start_date": start.isoformat()}
        values.append(
            {
                "job_id": f"job-{number}",
                "schedule_type": "interval",
                "schedule_expr": json.dumps(expression),
                "coalesce": not each,
                "overlap_policy": "queue_all" if each else "skip",
            }
        )
    for begin in range(0, jobs, 5000):
        async with database.transaction() as connection:
            await connection.execute(scheduled_job.insert(), values[begin : begin + 5000])
    await database.close()


async def measure(
    dsn: str, *, jobs: int, seconds: float, profile: str | None = None, latency_s: float = 0.0
) -> Load:
    """Run the jobs of `insert` and look at the seconds after the ramp, which is longer by `latency_s`."""
    from sqlalchemy import func, select

    from piko import PikoApp
    from piko.observability.logs import configure_logging
    from piko.settings import load_settings
    from piko.store.engine import open_database
    from piko.store.schema.tables.runs import job_run

    configure_logging(log_format="json")
    app = PikoApp(name="benchmark")
    started: list[tuple[str, datetime, float]] = []

    async def handler(ctx: Any, scheduled_time: datetime) -> None:
        started.append((ctx.job_id, scheduled_time, time.time()))

    for number in range(jobs):
        app.job(job_id=f"job-{number}")(handler)
    settings = load_settings(environment={}, mysql_dsn=dsn)
    database = open_database(dsn)

    async def recorded() -> tuple[int, float]:
        """How many outcomes are committed, and when that was asked, in seconds by the database's clock."""
        statement = select(func.count(), func.unix_timestamp(func.now(6))).where(job_run.c.state == "SUCCESS")
        async with database.statements() as connection:
            count, moment = (await connection.execute(statement)).one()
        return int(count), float(moment)

    async with app.running(settings):
        while len(started) < jobs:
            await asyncio.sleep(0.05)
        await asyncio.sleep(_RAMP_S + _RAMP_QUESTIONS * latency_s)
        begin, cpu, before = time.time(), time.process_time(), await recorded()
        if profile:
            import cProfile

            profiler = cProfile.Profile()
            profiler.enable()
        await asyncio.sleep(seconds)
        if profile:
            profiler.disable()
            profiler.dump_stats(profile)
        took = time.time() - begin
        cpu = (time.process_time() - cpu) / took
        after = await recorded()
        await asyncio.sleep(1)  # what was due in the last moment
    await database.close()
    # Whole seconds: each has every job once, however their due times lie within it.
    first, last = math.ceil(begin), math.ceil(begin) + math.floor(seconds) - 1
    due_times = {(moment.timestamp(), job_id): at for job_id, moment, at in started}
    within = [(moment, at) for (moment, _), at in due_times.items() if first <= moment < last]
    return Load(
        jobs=jobs,
        seconds=took,
        due=jobs * (last - first),
        landed=len(within),
        delays_ms=percentiles([(at - moment) * 1000 for moment, at in within]),
        recorded_per_s=(after[0] - before[0]) / (after[1] - before[1]),
        cpu=cpu,
    )


async def measured(
    jobs: int,
    *,
    seconds: float,
    spread: bool,
    profile: str | None = None,
    kind: ServerKind = "mariadb",
    latency_s: float = 0.0,
    code: Path = _ROOT,
) -> Load:
    """One measurement of the checkout `code`, in a process and on a server of its own.

    `latency_s`: how long each question of the replica to the server is held up on its way.

    Raises `RuntimeError` where the process fails, with the end of its log.
    """
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(durable_server(kind))
        database = await server.create_database()
        await insert(database.dsn, jobs, spread=spread)
        if latency_s:
            way, database = await stack.enter_async_context(cuttable(database))
            way.delay_s = latency_s
        command = [sys.executable, "-m", "benchmarks.load", "--measure", database.dsn]
        command += ["--jobs", str(jobs), "--seconds", str(seconds), "--latency", str(latency_s)]
        command += ["--profile", profile] if profile else []
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        log = Path(folder) / "log"
        lines = stack.enter_context(log.open("w"))
        child = await asyncio.to_thread(
            subprocess.run,
            command,
            check=False,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=lines,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(code / "runtime"), str(_ROOT)])},
        )
        if child.returncode:
            raise RuntimeError(f"{code}: {log.read_text()[-2000:]}")
    return Load(**json.loads(child.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--spread", action="store_true", help="due times spread over the second in tenths")
    parser.add_argument("--profile", help="a file for cProfile's statistics")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that each statement takes more")
    parser.add_argument("--before", type=Path, help="another checkout, to be compared with")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        found = asyncio.run(
            measure(
                options.measure,
                jobs=options.jobs,
                seconds=options.seconds,
                profile=options.profile,
                latency_s=options.latency,
            )
        )
        print(json.dumps(asdict(found)))
        return
    profile = str(Path(options.profile).resolve()) if options.profile else None
    codes = [*([options.before.resolve()] if options.before else []), _ROOT]
    loads = [(50, False), (500, False), (1000, False), (5000, True), (8000, True)]
    for jobs, spread in [(options.jobs, options.spread)] if options.jobs else loads:
        of_code: dict[Path, list[Load]] = {code: [] for code in codes}
        for code in codes * options.repeats:
            load = measured(
                jobs,
                seconds=options.seconds,
                spread=spread,
                profile=profile,
                latency_s=options.latency,
                code=code,
            )
            of_code[code].append(asyncio.run(load))
        for code, several in of_code.items():
            print(f"{code.name:<12} {medians(several)}" if options.before else medians(several), flush=True)


if __name__ == "__main__":
    main()
