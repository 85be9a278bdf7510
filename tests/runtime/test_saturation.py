"""What waits, for how long, and how full a replica is: exported while it lasts, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from piko import PikoApp, ResultSink, WriteIntent
from piko.settings import load_settings
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import schedule


class _Shelf(ResultSink):
    """It is away until `open` is set."""

    def __init__(self) -> None:
        super().__init__("shelf", durability="spooled")
        self.open = False

    async def write_batch(self, batch: Sequence[WriteIntent]) -> None:
        if not self.open:
            raise ConnectionError("no shelf")


async def test_what_waits_has_an_age_until_it_waits_no_longer(sqlite: TestDatabase, tmp_path: Path) -> None:
    await upgrade(sqlite.dsn)
    app, shelf, may_end = PikoApp(name="full"), _Shelf(), asyncio.Event()
    app.writer.register_sink(shelf)

    @app.job("holds")
    async def holds(ctx: Any, scheduled_time: datetime) -> None:
        await ctx.write("shelf", key="one", payload={"id": 1})
        await may_end.wait()

    @app.job("waits")
    async def waits(ctx: Any, scheduled_time: datetime) -> None: ...

    @app.job("flaky")
    async def flaky(ctx: Any, scheduled_time: datetime) -> None:
        raise KeyError("customer_id")

    def exported(name: str, **labels: str) -> float | None:
        return app.metrics.registry.get_sample_value(name, labels)

    def ages() -> tuple[float | None, float | None]:
        oldest = "piko_persistence_oldest_timestamp_seconds"
        return exported("piko_queue_oldest_timestamp_seconds"), exported(oldest, sink="shelf")

    group: dict[str, Any] = {"concurrency_group": "g", "concurrency_limit": 1, "overlap_policy": "queue"}
    await schedule(sqlite, "holds", **group)
    await schedule(sqlite, "flaky", max_attempts=2, retry_backoff_s=0.1)
    settings = load_settings(
        environment={}, directory=tmp_path, mysql_dsn=sqlite.dsn, spool_dir=tmp_path / "spool",
        poll_interval_s=0.1, heartbeat_interval_s=0.5, max_concurrent_runs=7,
    )  # fmt: skip
    async with app.running(settings):
        await wait_until_async(lambda: exported("piko_jobs_running"), what="the slot of the group to be held")
        await schedule(sqlite, "waits", **group)
        await wait_until_async(lambda: None not in ages(), what="a run and an intent that have waited")
        assert exported("piko_jobs_running_limit") == 7
        assert exported("piko_persistence_memory_limit", sink="shelf") == shelf.queue_size
        assert exported("piko_persistence_memory_size", sink="shelf") == 0, "it waits on disk"
        assert exported("piko_db_connections", pool="transactions") is not None
        retried = {"job_id": "flaky", "status": "FAILED"}
        await wait_until_async(lambda: exported("piko_job_retries_total", **retried), what="a retry")
        await sqlite.execute("UPDATE scheduled_job SET enabled = 0, version = version + 1")
        shelf.open = True
        may_end.set()
        await wait_until_async(lambda: ages() == (None, None), what="nothing to wait any more")
