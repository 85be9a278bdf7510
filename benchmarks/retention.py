"""How fast retention deletes what is no longer history, and what that costs.

    python -m benchmarks.retention --runs 200000 --jobs 50

A MariaDB of its own holds ended runs, each with its lock; one round of retention, as it is in production,
prunes all but the history. Printed: rows deleted in a second, and the processor time that a row takes.
"""

from __future__ import annotations

import argparse
import asyncio
import time

from tests.harness.databases import TestDatabase

from benchmarks.database import durable_mariadb
from benchmarks.run_cost import processor_s
from piko.catalog.configs import ConfigBook
from piko.clock import SystemClock
from piko.core.registry import JobRegistry
from piko.leadership.database_lease import DatabaseLease
from piko.leadership.elector import Elector, leadership
from piko.model.instances import Instance
from piko.observability.metrics import Metrics
from piko.scheduler.retention import Retention
from piko.store.changes import ChangeStore
from piko.store.engine import Database, open_database
from piko.store.idempotency import IdempotencyKeys
from piko.store.leases import LeaseStore
from piko.store.progress import ProgressStore
from piko.store.retention import RetentionStore
from piko.store.schema.migrate import upgrade

_FILL = (
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) "
    "SELECT CONCAT('job-', seq), 'interval', '{\"seconds\": 1}' FROM seq_1_to_{jobs}",
    "INSERT INTO job_state (job_id, status, cursor_at, observed_version) "
    "SELECT job_id, 'Scheduled', NOW(6), version FROM scheduled_job",
    "INSERT INTO job_run (run_id, job_id, scheduled_time, state, attempt, trigger_type, priority, "
    "started_at, finished_at) "
    "SELECT MD5(seq), CONCAT('job-', 1 + seq % {jobs}), NOW(6) - INTERVAL 1 DAY - INTERVAL seq SECOND, "
    "'SUCCESS', 1, 'schedule', 0, NOW(6) - INTERVAL 1 DAY, NOW(6) - INTERVAL 1 DAY FROM seq_1_to_{runs}",
    "INSERT INTO job_lock (job_id, scheduled_time, run_id, claim_token, epoch) "
    "SELECT job_id, scheduled_time, run_id, '', 1 FROM job_run",
)


async def fill(database: TestDatabase, *, runs: int, jobs: int) -> None:
    """Ended runs of a day ago, and their locks."""
    await upgrade(database.dsn)
    for statement in _FILL:
        await database.execute(statement.replace("{runs}", str(runs)).replace("{jobs}", str(jobs)))


async def prune(database: Database) -> int:
    """One round of a replica that leads; how many rows it deleted."""
    instance = Instance(instance_id="benchmark", app="benchmark", host="here", pid=1, version="0")
    clock, metrics = SystemClock(), Metrics()
    lease = DatabaseLease(
        rows=LeaseStore(database=database), name="benchmark", instance=instance, lease_s=3600,
        renew_interval_s=600,
    )  # fmt: skip
    elector = Elector(lease=lease, lease_name="benchmark", instance=instance, clock=clock, metrics=metrics)
    leads = asyncio.create_task(elector.run())
    try:
        fence = await leadership(elector)
        retention = Retention(
            store=RetentionStore(database=database),
            kept=ProgressStore(database=database),
            changes=ChangeStore(database=database),
            keys=IdempotencyKeys(database=database),
            configs=ConfigBook(registry=JobRegistry()),
            elector=elector,
            clock=clock,
            metrics=metrics,
            max_age_s=30 * 86_400,
            most_changes=1000,
        )
        await retention.go_round(fence)
    finally:
        leads.cancel()
        await asyncio.wait({leads})
    samples = metrics.registry.get_sample_value
    return int((samples("piko_runs_pruned_total") or 0) + (samples("piko_locks_pruned_total") or 0))


async def measure(*, runs: int, jobs: int) -> None:
    """Fill a database, prune it, and print what that took."""
    async with durable_mariadb() as server:
        made = await server.create_database()
        await fill(made, runs=runs, jobs=jobs)
        database = open_database(made.dsn)
        theirs, mine, began = processor_s(server.pid), time.process_time(), time.monotonic()
        rows = await prune(database)
        took = time.monotonic() - began
        mine, theirs = time.process_time() - mine, processor_s(server.pid) - theirs
        await database.close()
    print(
        f"{runs:,} runs of {jobs} jobs: {rows:,} rows deleted, {rows / took:,.0f}/s;"
        f" for a row {mine / rows * 1e6:.0f} µs of the replica's processor,"
        f" {theirs / rows * 1e6:.0f} µs of the database's"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--jobs", type=int, default=50)
    options = parser.parse_args()
    asyncio.run(measure(runs=options.runs, jobs=options.jobs))


if __name__ == "__main__":
    main()
