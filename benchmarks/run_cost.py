"""What one run costs: processor time of the replica and of the database, whatever else the machine does.

    python -m benchmarks.run_cost                                   # this code
    python -m benchmarks.run_cost --before ../other-checkout        # beside another checkout, in turns

Jobs with a no-op handler become due together, wave after wave, on one replica and a MariaDB of its own. The
processor seconds from a wave's due time until each of its outcomes is committed are divided by its runs, less
what the replica uses in the same time when nothing is due. Times on a clock depend on what else the machine
does; processor seconds hardly do, and two codes that take turns on one server meet the same noise.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.harness.database_servers import DatabaseServer

from benchmarks.database import durable_mariadb

_ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")
_PERIOD_S = 20
_BEFORE_S = 0.3
_IDLE_S = 1.5
_LOOK_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCost:
    """Microseconds of processor for each run."""

    replica_us: float
    database_us: float


def processor_s(pid: int) -> float:
    """Processor seconds, user and system, that the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


async def measure(dsn: str, *, server: int, jobs: int, waves: int, profile: str | None) -> RunCost:
    """Run waves of `jobs` runs, the first of them to warm up; the medians of the others.

    - `server`: the process of the database.
    - `profile`: a file for cProfile's statistics of the waves; it makes them dearer.

    Raises `RuntimeError` where a wave is not over when the next one begins.
    """
    from sqlalchemy import func, select

    from piko import PikoApp
    from piko.observability.logs import configure_logging
    from piko.settings import load_settings
    from piko.store.engine import open_database
    from piko.store.schema.migrate import upgrade
    from piko.store.schema.tables.runs import job_run
    from piko.store.schema.tables.schedules import scheduled_job

    configure_logging(log_format="json")
    await upgrade(dsn)
    app = PikoApp(name="benchmark")
    calls = 0

    async def handler(_ctx: Any, _scheduled_time: datetime) -> None:
        nonlocal calls
        calls += 1

    expression = json.dumps({"seconds": _PERIOD_S})
    rows = []
    for number in range(jobs):
        app.job(job_id=f"job-{number}")(handler)
        rows.append({"job_id": f"job-{number}", "schedule_type": "interval", "schedule_expr": expression})
    database = open_database(dsn)
    async with database.transaction() as connection:
        await connection.execute(scheduled_job.insert(), rows)

    async def recorded() -> int:
        async with database.statements() as connection:
            ended = select(func.count()).where(job_run.c.state == "SUCCESS")
            return int((await connection.execute(ended)).scalar_one())

    async def wave() -> RunCost:
        due = math.ceil((time.time() + _IDLE_S + 2 * _BEFORE_S) / _PERIOD_S) * _PERIOD_S
        await asyncio.sleep(due - _IDLE_S - 2 * _BEFORE_S - time.time())
        cpu, begin = time.process_time(), time.monotonic()
        await asyncio.sleep(_IDLE_S)
        idle = (time.process_time() - cpu) / (time.monotonic() - begin)
        expected_calls, expected_ends = calls + jobs, await recorded() + jobs
        await asyncio.sleep(due - _BEFORE_S - time.time())
        cpu, theirs, begin = time.process_time(), processor_s(server), time.monotonic()
        while calls < expected_calls or await recorded() < expected_ends:
            await asyncio.sleep(_LOOK_S)
            if time.time() > due + _PERIOD_S:
                raise RuntimeError(f"{jobs} runs take longer than {_PERIOD_S} s here; ask for fewer --jobs")
        mine = time.process_time() - cpu - idle * (time.monotonic() - begin)
        return RunCost(replica_us=mine / jobs * 1e6, database_us=(processor_s(server) - theirs) / jobs * 1e6)

    profiler = cProfile.Profile()
    async with app.running(load_settings(environment={}, mysql_dsn=dsn)):
        await asyncio.sleep(2.0)
        await wave()
        if profile:
            profiler.enable()
        costs = [await wave() for _ in range(waves)]
        if profile:
            profiler.disable()
            profiler.dump_stats(profile)
    await database.close()
    return RunCost(
        replica_us=statistics.median(cost.replica_us for cost in costs),
        database_us=statistics.median(cost.database_us for cost in costs),
    )


async def measured(
    server: DatabaseServer, *, code: Path, jobs: int, waves: int, profile: str | None = None
) -> RunCost:
    """One measurement of the checkout `code`, in a process and on a database of its own."""
    dsn = (await server.create_database()).dsn
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "benchmarks.run_cost", "--measure", dsn, "--server", str(server.pid)]
        command += ["--jobs", str(jobs), "--waves", str(waves), *(["--profile", profile] if profile else [])]
        path = os.pathsep.join([str(code / "runtime"), str(_ROOT)])
        log = Path(folder) / "log"
        with log.open("w") as lines:
            child = await asyncio.to_thread(
                subprocess.run,
                command,
                check=False,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=lines,
                env={**os.environ, "PYTHONPATH": path},
            )
        if child.returncode:
            raise RuntimeError(f"{code}: {log.read_text()[-2000:]}")
    return RunCost(**json.loads(child.stdout))


async def compare(codes: Sequence[Path], *, jobs: int, waves: int, repeats: int, profile: str | None) -> None:
    """Print the cost of a run of each checkout; the first is what the others are compared with."""
    found: dict[Path, list[RunCost]] = {code: [] for code in codes}
    async with durable_mariadb() as server:
        for _ in range(repeats):
            for code in codes:
                cost = await measured(server, code=code, jobs=jobs, waves=waves, profile=profile)
                found[code].append(cost)
    first = statistics.median(cost.replica_us for cost in found[codes[0]])
    for code, costs in found.items():
        replica = statistics.median(cost.replica_us for cost in costs)
        database = statistics.median(cost.database_us for cost in costs)
        print(
            f"{code.name:<16} replica {replica:>6,.0f} µs a run ({replica / first:.2f})"
            f"   database {database:>6,.0f} µs a run",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--jobs", type=int, default=3000)
    parser.add_argument("--waves", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--before", type=Path, help="another checkout, to be compared with")
    parser.add_argument("--profile", help="a file for cProfile's statistics")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--server", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    jobs, waves, profile = options.jobs, options.waves, options.profile
    if options.measure:
        cost = measure(options.measure, server=options.server, jobs=jobs, waves=waves, profile=profile)
        print(json.dumps(asdict(asyncio.run(cost))))
        return
    codes = [*([options.before.resolve()] if options.before else []), _ROOT]
    asyncio.run(compare(codes, jobs=jobs, waves=waves, repeats=options.repeats, profile=profile))


if __name__ == "__main__":
    main()
