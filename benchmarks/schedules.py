"""Many schedules: how long a replica takes to be ready, what that costs, and how steady it is afterwards.

    python -m benchmarks.schedules                 # 10,000 and 100,000 schedules
    python -m benchmarks.schedules 10000           # as many as you say
    python -m benchmarks.schedules --dsn mysql+asyncmy://…   # in this database, which must be empty

Half of the schedules are cron, in eight zones and in both forms, half are intervals. Without a DSN a private
MariaDB is started, as the tests do. Each measurement is a process of its own; APScheduler 3 gets the same
schedules in the same run, in memory, since it has no counterpart to the rest.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

ZONES = (
    "UTC", "Europe/Berlin", "Asia/Shanghai", "America/New_York",
    "Australia/Sydney", "America/Sao_Paulo", "Asia/Kolkata", "Africa/Cairo",
)  # fmt: skip
CANARY = "canary"
_CHANGED = 100
_INSTANTS = 10


@dataclass(frozen=True, slots=True)
class Row:
    """One schedule."""

    job_id: str
    schedule_type: str
    expression: Any
    timezone: str


def rows(count: int) -> Iterator[Row]:
    """The schedules: none fires within the minutes that a measurement takes, at least not many."""
    for number in range(count):
        zone = ZONES[number // 4 % len(ZONES)]
        match number % 4:
            case 0:
                cron: Any = {"cron": f"{number % 60} {number // 60 % 24} * * {number % 7}"}
                yield Row(f"job-{number}", "cron", cron, zone)
            case 1:
                fields = {"day": number % 28 + 1, "hour": number // 60 % 24, "minute": number % 60}
                yield Row(f"job-{number}", "cron", fields, zone)
            case _:
                period = {"hours": number % 20 + 4, "seconds": number % 3600}
                yield Row(f"job-{number}", "interval", period, zone)


# ---- Piko -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class Heartbeat:
    """The worst gap of a task that wants to run every two milliseconds.

    Once by the clock, and once by the processor time that this process took: that is the same however much
    else the machine has to do.
    """

    worst_s: float = 0.0
    worst_cpu_s: float = 0.0
    gaps: list[float] = field(default_factory=list)

    def begin(self) -> None:
        self.worst_s = self.worst_cpu_s = 0.0
        self.gaps.clear()

    async def beat(self) -> None:
        before, cpu_before = time.perf_counter(), time.process_time()
        while True:
            await asyncio.sleep(0.002)
            now, cpu = time.perf_counter(), time.process_time()
            self.worst_s = max(self.worst_s, now - before - 0.002)
            self.worst_cpu_s = max(self.worst_cpu_s, cpu - cpu_before)
            self.gaps.append(round((cpu - cpu_before) * 1000))
            before, cpu_before = now, cpu


async def insert(dsn: str, count: int) -> None:
    """The tables, with `count` schedules and one that fires every second."""
    from piko.store.engine import open_database
    from piko.store.schema.migrate import upgrade
    from piko.store.schema.tables.schedules import scheduled_job

    await upgrade(dsn)
    database = open_database(dsn)
    values = [
        {
            "job_id": row.job_id,
            "schedule_type": row.schedule_type,
            "schedule_expr": json.dumps(row.expression),
            "timezone": row.timezone,
        }
        for row in rows(count)
    ]
    canary = {"schedule_type": "interval", "schedule_expr": '{"seconds": 1}', "timezone": "UTC"}
    values.append({"job_id": CANARY, **canary})
    for start in range(0, len(values), 5000):
        async with database.transaction() as connection:
            await connection.execute(scheduled_job.insert(), values[start : start + 5000])
    await database.close()


async def measure(dsn: str, count: int) -> dict[str, Any]:
    """One replica: start, steady state, an edit of a hundred rows."""
    import logging

    import structlog

    from piko import PikoApp
    from piko.settings import load_settings
    from piko.store.engine import open_database

    await open_database(dsn).close()  # the driver is imported before the clock runs, as everything else is
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    app = PikoApp(name="benchmark")
    first_run = asyncio.get_running_loop().create_future()

    async def handler(_ctx: Any, _scheduled_time: datetime) -> None:
        if not first_run.done() and _ctx.job_id == CANARY:
            first_run.set_result(time.perf_counter())

    for row in rows(count):
        app.job(job_id=row.job_id)(handler)
    app.job(job_id=CANARY)(handler)
    settings = load_settings(environment={}, mysql_dsn=dsn)
    imported_mb = resident_mb()
    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.beat())
    await asyncio.sleep(0.1)
    heartbeat.begin()
    start, cpu_start = time.perf_counter(), time.process_time()
    async with app.running(settings) as runtime:
        while not (runtime.readiness.ready and runtime.readiness.role == "leader"):
            await asyncio.sleep(0.01)
        ready_s, ready_cpu_s = time.perf_counter() - start, time.process_time() - cpu_start
        first_run_s = await first_run - start
        first_run_cpu_s = time.process_time() - cpu_start
        loading = (heartbeat.worst_s, heartbeat.worst_cpu_s, sorted(heartbeat.gaps)[-5:])
        after_load_mb = resident_mb()
        passes = app.metrics.reconcile_duration
        await asyncio.sleep(2)
        heartbeat.begin()
        before = _total(passes)
        cpu = time.process_time()
        await asyncio.sleep(5)
        cpu = time.process_time() - cpu
        after = _total(passes)
        steady_s = (after[0] - before[0]) / (after[1] - before[1])
        steady_stall_s, steady_stall_cpu_s = heartbeat.worst_s, heartbeat.worst_cpu_s
        edit_s = await edit(dsn, runtime)
    beating.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await beating
    return {
        "imported_mb": imported_mb,
        "ready_s": ready_s,
        "ready_cpu_s": ready_cpu_s,
        "first_run_s": first_run_s,
        "first_run_cpu_s": first_run_cpu_s,
        "stall_ms": loading[0] * 1000,
        "stall_cpu_ms": loading[1] * 1000,
        "gaps_cpu_ms": loading[2],
        "steady_pass_ms": steady_s * 1000,
        "steady_stall_ms": steady_stall_s * 1000,
        "steady_stall_cpu_ms": steady_stall_cpu_s * 1000,
        "steady_cpu": cpu / 5,
        "edit_s": edit_s,
        "memory_mb": after_load_mb,
        "peak_mb": _status("VmHWM"),
    }


async def edit(dsn: str, runtime: Any) -> float:
    """Seconds from the COMMIT of an edit of a hundred rows until all of them count."""
    from piko.store.engine import open_database
    from piko.store.schema.tables.schedules import scheduled_job

    changed = [f"job-{number}" for number in range(_CHANGED)]
    priority = runtime.assessed_rows[changed[0]].row.priority + 1
    database = open_database(dsn)
    async with database.transaction() as connection:
        await connection.execute(
            scheduled_job.update().where(scheduled_job.c.job_id.in_(changed)).values(priority=priority)
        )
    start = time.perf_counter()
    while any(runtime.assessed_rows[job_id].row.priority != priority for job_id in changed):
        await asyncio.sleep(0.005)
    took = time.perf_counter() - start
    await database.close()
    return took


def next_rate(count: int) -> dict[str, Any]:
    """Parsing and next instants alone, without a database."""
    from piko.schedule import parse_schedule

    given = list(rows(count))
    start = time.perf_counter()
    schedules = [
        parse_schedule(
            job_id=row.job_id,
            schedule_type=row.schedule_type,
            schedule_expr=json.dumps(row.expression),
            timezone=row.timezone,
        )
        for row in given
    ]
    parsed_s = time.perf_counter() - start
    now = datetime.now(UTC)
    start = time.perf_counter()
    for schedule in schedules:
        moment: datetime | None = now
        for _ in range(_INSTANTS):
            moment = schedule.next_after(moment) if moment else None
    took = time.perf_counter() - start
    return {"parse_per_s": count / parsed_s, "next_per_s": count * _INSTANTS / took}


# ---- APScheduler ----------------------------------------------------------------------------------


def apscheduler(count: int) -> dict[str, Any]:
    """The same schedules in APScheduler 3: `add_job`, and the next instants of its triggers."""
    from apscheduler.schedulers.background import BackgroundScheduler
    from apscheduler.triggers.cron import CronTrigger
    from apscheduler.triggers.interval import IntervalTrigger

    given = list(rows(count))
    imported_mb = resident_mb()
    scheduler = BackgroundScheduler(timezone="UTC")
    scheduler.start(paused=True)
    start = time.perf_counter()
    for row in given:
        match row.schedule_type, row.expression:
            case "interval", period:
                trigger: Any = IntervalTrigger(**period, timezone=row.timezone)
            case _, {"cron": text}:
                trigger = CronTrigger.from_crontab(text, timezone=row.timezone)
            case _, fields:
                trigger = CronTrigger(**fields, timezone=row.timezone)
        scheduler.add_job(_nothing, trigger, id=row.job_id)
    added_s = time.perf_counter() - start
    now = datetime.now(UTC)
    start = time.perf_counter()
    for job in scheduler.get_jobs():
        moment: datetime | None = now
        for _ in range(_INSTANTS):
            following = job.trigger.get_next_fire_time(moment, moment) if moment else None
            moment = following + timedelta(microseconds=1) if following else None
    took = time.perf_counter() - start
    memory = resident_mb()
    scheduler.shutdown(wait=False)
    return {
        "add_s": added_s,
        "next_per_s": count * _INSTANTS / took,
        "imported_mb": imported_mb,
        "memory_mb": memory,
    }


def _nothing() -> None:
    pass


# ---- one run --------------------------------------------------------------------------------------


def resident_mb() -> float:
    gc.collect()
    return _status("VmRSS")


def _status(name: str) -> float:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        line = next(line for line in status if line.startswith(name))
    return int(line.split()[1]) / 1024


def _total(histogram: Any) -> tuple[float, float]:
    samples = {sample.name: sample.value for metric in histogram.collect() for sample in metric.samples}
    (total,) = (value for name, value in samples.items() if name.endswith("_sum"))
    (number,) = (value for name, value in samples.items() if name.endswith("_count"))
    return total, number


@contextlib.asynccontextmanager
async def _databases(dsn: str | None) -> AsyncIterator[Any]:
    """Makes an empty database for each call, or hands out the one that was given."""
    if dsn is not None:

        async def given() -> str:
            return dsn

        yield given
        return
    from tests.harness.databases import create_database
    from tests.harness.servers import Servers

    servers = Servers()
    try:
        host = await asyncio.to_thread(servers.database_host, "mariadb")

        async def made() -> str:
            return (await create_database("mariadb", host.dsn)).dsn

        yield made
    finally:
        servers.close()


def _child(part: str, count: int, dsn: str = "") -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.schedules", str(count), "--part", part, "--dsn", dsn]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, env=os.environ)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


async def _report(count: int, dsn: str | None) -> None:
    print(f"{count:,} schedules")
    async with _databases(dsn) as database:
        target = await database()
        await insert(target, count)
        for name in ("first start", "second start"):
            found = await asyncio.to_thread(_child, "piko", count, target)
            print(f"  Piko, {name}: " + "  ".join(_shown(*item) for item in found.items()))
    found = await asyncio.to_thread(_child, "next", count)
    print("  Piko, pure: " + "  ".join(_shown(*item) for item in found.items()))
    found = await asyncio.to_thread(_child, "apscheduler", count)
    print("  APScheduler 3: " + "  ".join(_shown(*item) for item in found.items()))


def _shown(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return f"{name}={value}"
    return f"{name}={value:,.0f}" if value >= 1000 else f"{name}={value:.3g}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("counts", nargs="*", type=int, default=[10_000, 100_000])
    parser.add_argument("--dsn")
    parser.add_argument("--part", choices=("piko", "next", "apscheduler"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part == "piko":
        print(json.dumps(asyncio.run(measure(options.dsn, options.counts[0]))))
    elif options.part == "next":
        print(json.dumps(next_rate(options.counts[0])))
    elif options.part == "apscheduler":
        print(json.dumps(apscheduler(options.counts[0])))
    else:
        for count in options.counts:
            asyncio.run(_report(count, options.dsn))


if __name__ == "__main__":
    main()
