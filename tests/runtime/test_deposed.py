"""A leader that stood still while another took over gives its runs up as soon as it learns of it."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Any

from piko import PikoApp
from piko.settings import load_settings
from piko.store.leases import LeaseStore
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.leadership.clocks import MovableClock
from tests.runtime.replicas import schedule
from tests.store.making import opened


async def test_what_a_deposed_leader_runs_is_cancelled_before_anybody_gives_it_up(
    sqlite: TestDatabase, tmp_path: Path
) -> None:
    await upgrade(sqlite.dsn)
    await schedule(sqlite, "long")
    clock = MovableClock()
    app = PikoApp(name="trial", clock=clock)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    @app.job(job_id="long")
    async def long(ctx: Any, scheduled_time: datetime) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    settings = load_settings(
        environment={},
        directory=tmp_path,
        mysql_dsn=sqlite.dsn,
        spool_dir=tmp_path / "spool",
        leader_renew_interval_s=2,
        poll_interval_s=0.1,
    )

    def exported() -> bool:
        names = re.compile(r"piko_job_\w+_timestamp_seconds")
        of_jobs = [item for item in app.metrics.registry.collect() if names.fullmatch(item.name)]
        assert len(of_jobs) == 5
        return any(list(family.samples) for family in of_jobs)

    async with opened(sqlite) as database, app.running(settings) as runtime:
        await asyncio.wait_for(begun.wait(), PATIENCE_S)
        clock.ahead_s += settings.leader_lease_s
        await wait_until_async(lambda: not runtime.readiness.ready, what="it to be unready")
        await LeaseStore(database=database).acquire(
            settings.leader_name, holder="another", host="another", lease_s=3600, force=True
        )
        await asyncio.wait_for(cancelled.wait(), PATIENCE_S)
        await wait_until_async(lambda: not exported(), what="its plans to be forgotten")
        assert await sqlite.execute("SELECT DISTINCT state FROM job_run WHERE started_at IS NOT NULL") == [
            ("RUNNING",)
        ], "how it ended is for the other to say"
