"""What is measured of each peer, in a process of its own: one worker, all jobs `async def noop(): pass`.

**The queues**, PgQueuer and Procrastinate, get all jobs in bulk first (reported, not timed), then
`VACUUM ANALYZE` and a checkpoint, so that the clock sees nothing of that. The clock is PostgreSQL's: it runs
from just before the worker starts until the stamp of the last success that was recorded, so that start-up
counts and shutdown does not.

**APScheduler** has no queue. It gets more schedules of one second than it can start, and what it starts in a
second is its rate; of what was due, the part that it ran is its landing share. It commits each run's next
time before the run and records no outcome, so that it does less for a run than the others.

Settings, each the fastest of those that its documentation offers (2 cores, PostgreSQL 15, MariaDB 10.11):

- PgQueuer: `durability` stays `durable`, `optimize_autovacuum` as its checklist says, uvloop as its command
  line uses, one manager. Its guide says to raise `batch_size` for short jobs, and to use a pool for a high
  throughput: runs/s were 6,800 with the defaults (10, one connection), 12,800 with 100, 13,600 with 500,
  and 16,000 with 500 and a pool of 5. Repeated in turns, 200, 1,000 or a pool of 10 differ from that by less
  than the runs differ. Five managers in one process, as in its own benchmark, were no faster (7,500 with 10,
  14,000 with 100).
- Procrastinate: its worker fetches one job at a time whatever its `concurrency`, so one worker as its command
  line starts it (`concurrency=30`, as its guide shows) makes 350 to 600 runs/s. Five workers in one process
  make up to 840; ten or twenty make no more, nor does uvloop. The pool has a connection for each concurrent
  job and one more, as its guide says for short jobs. It checks each connection that it hands out; a pool of
  one's own that does not made a fifth more.
- APScheduler: `coalesce` and `max_instances=1` are its defaults. `misfire_grace_time=None`, against the
  default of one second, with which nothing at all ran at saturation: each pass over the due jobs takes longer
  than that, and each run was then dropped as misfired. The driver is PyMySQL, pure Python.

The figures above are single runs on a machine that did little else; beside other load they halved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

PGQUEUER_BATCH = 500
PGQUEUER_POOL = 5
PROCRASTINATE_WORKERS = 5
PROCRASTINATE_CONCURRENCY = 10
APSCHEDULER_SCHEDULES = 2_000
APSCHEDULER_SECONDS = 15

_ENQUEUED_TOGETHER = 1_000


@dataclass(frozen=True, slots=True)
class Figures:
    """Runs per second, jobs stored per second before it, the worker's processor time, and what ran of all.

    `processor_us` is microseconds of the worker's process for each run; `landing_share` is how much ran of
    what was due.
    """

    runs_per_s: float
    stored_per_s: float
    processor_us: float
    landing_share: float = 1.0


class UnrecordedRunsError(RuntimeError):
    """A peer ended without a record of each run, so that a rate would mean nothing."""


# ---- PgQueuer -------------------------------------------------------------------------------------


async def pgqueuer(dsn: str, jobs: int) -> Figures:
    """Drains `jobs` jobs with one PgQueuer on asyncpg, in the empty database that `dsn` names."""
    from pgqueuer import PgQueuer
    from pgqueuer.db import AsyncpgDriver
    from pgqueuer.models import Job
    from pgqueuer.queries import Queries
    from pgqueuer.types import QueueExecutionMode

    async with (
        _connection(dsn) as producer,
        asyncpg.create_pool(dsn, min_size=PGQUEUER_POOL, max_size=PGQUEUER_POOL) as pool,
    ):
        queries = Queries(AsyncpgDriver(producer))
        await queries.install()
        await queries.optimize_autovacuum()
        begun = time.perf_counter()
        for size in _parts(jobs):
            await queries.enqueue(["noop"] * size, [None] * size, [0] * size)
        stored_per_s = jobs / (time.perf_counter() - begun)
        worker = PgQueuer.from_asyncpg_pool(pool)

        @worker.entrypoint("noop")  # type: ignore[untyped-decorator]
        async def noop(_job: Job) -> None:
            pass

        started, processor_s = await _settle(producer), time.process_time()
        await worker.run(batch_size=PGQUEUER_BATCH, mode=QueueExecutionMode.drain)
        processor_s = time.process_time() - processor_s
        recorded, last = await producer.fetchrow(
            "SELECT count(*), max(created) FROM pgqueuer_log WHERE status = 'successful'"
        )
    return Figures(_rate(jobs, recorded, started, last), stored_per_s, processor_s / jobs * 1e6)


# ---- Procrastinate --------------------------------------------------------------------------------


async def procrastinate(dsn: str, jobs: int) -> Figures:
    """Drains `jobs` jobs with Procrastinate's workers on psycopg, in the empty database that `dsn` names."""
    from procrastinate import App, PsycopgConnector

    pool = PROCRASTINATE_WORKERS * PROCRASTINATE_CONCURRENCY + 1
    app = App(connector=PsycopgConnector(conninfo=dsn, min_size=pool, max_size=pool))
    task = app.task(name="noop")(noop)
    async with app.open_async(), _connection(dsn) as watcher:
        await app.schema_manager.apply_schema_async()
        begun = time.perf_counter()
        for size in _parts(jobs):
            await task.batch_defer_async(*[{}] * size)
        stored_per_s = jobs / (time.perf_counter() - begun)
        started, processor_s = await _settle(watcher), time.process_time()
        await asyncio.gather(
            *(
                app.run_worker_async(
                    name=f"worker-{number}",
                    concurrency=PROCRASTINATE_CONCURRENCY,
                    wait=False,
                    install_signal_handlers=False,
                )
                for number in range(PROCRASTINATE_WORKERS)
            )
        )
        processor_s = time.process_time() - processor_s
        recorded, last = await watcher.fetchrow(
            "SELECT count(*), max(at) FROM procrastinate_events WHERE type = 'succeeded'"
        )
    return Figures(_rate(jobs, recorded, started, last), stored_per_s, processor_s / jobs * 1e6)


async def noop() -> None:
    pass


# ---- APScheduler ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rounds:
    """When runs started, in seconds of `time.perf_counter`; APScheduler finds it by its name."""

    started: list[float]

    async def run(self) -> None:
        self.started.append(time.perf_counter())


_ROUNDS = _Rounds(started=[])


async def apscheduler(dsn: str) -> Figures:
    """Saturates an AsyncIOScheduler with its jobs in an empty MariaDB database, on PyMySQL."""
    from apscheduler.executors.asyncio import AsyncIOExecutor
    from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
    from apscheduler.schedulers.asyncio import AsyncIOScheduler
    from apscheduler.triggers.interval import IntervalTrigger

    scheduler = AsyncIOScheduler(
        jobstores={"default": SQLAlchemyJobStore(url=dsn)},
        executors={"default": AsyncIOExecutor()},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone=UTC,
    )
    scheduler.start(paused=True)
    grid = IntervalTrigger(seconds=1, start_date=datetime.now(UTC), timezone=UTC)
    begun = time.perf_counter()
    for number in range(APSCHEDULER_SCHEDULES):
        scheduler.add_job(f"{__name__}:_ROUNDS.run", grid, id=f"job-{number}")
    stored_per_s = APSCHEDULER_SCHEDULES / (time.perf_counter() - begun)
    processor_s = time.process_time()
    scheduler.resume()
    await asyncio.sleep(APSCHEDULER_SECONDS)
    scheduler.pause()
    await asyncio.sleep(1)  # what a pass has submitted may end
    scheduler.shutdown(wait=False)
    processor_s = time.process_time() - processor_s
    # A pass starts all its runs at its end, so that whole passes are counted, from the end of the first one.
    first, later = _ROUNDS.started[:APSCHEDULER_SCHEDULES], _ROUNDS.started[APSCHEDULER_SCHEDULES:]
    if not later:
        raise UnrecordedRunsError(
            f"APScheduler started {len(first)} runs of {APSCHEDULER_SCHEDULES} schedules in "
            f"{APSCHEDULER_SECONDS} s, and a rate needs two passes over them"
        )
    runs_per_s = len(later) / (later[-1] - first[-1])
    processor_us = processor_s / len(_ROUNDS.started) * 1e6
    return Figures(runs_per_s, stored_per_s, processor_us, min(1.0, runs_per_s / APSCHEDULER_SCHEDULES))


# ---- PostgreSQL's clock ---------------------------------------------------------------------------


@asynccontextmanager
async def _connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


async def _settle(connection: asyncpg.Connection) -> datetime:
    """Finishes the work that the bulk insert left to PostgreSQL, and returns its time then."""
    await connection.execute("VACUUM ANALYZE")
    await connection.execute("CHECKPOINT")
    now: datetime = await connection.fetchval("SELECT clock_timestamp()")
    return now


def _parts(jobs: int) -> list[int]:
    """The sizes of the bulk inserts."""
    return [min(_ENQUEUED_TOGETHER, jobs - start) for start in range(0, jobs, _ENQUEUED_TOGETHER)]


def _rate(jobs: int, recorded: int, started: datetime, last: datetime) -> float:
    if recorded != jobs:
        raise UnrecordedRunsError(f"{recorded} of {jobs} jobs are recorded as succeeded, expected each once")
    return jobs / (last - started).total_seconds()
