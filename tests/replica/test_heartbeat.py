"""The sign of life: it goes on through a database that is away."""

from __future__ import annotations

import asyncio

import pytest

from piko.clock import SystemClock
from piko.model.instances import Instance
from piko.observability.metrics import Metrics
from piko.observability.watchdog import Watchdog
from piko.persistence.writer import PersistenceWriter
from piko.replica.heartbeat import Heartbeat
from piko.replica.troubles import ReplicaTroubles
from piko.store.instances import InstanceStore
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.store.cutting import cuttable
from tests.store.making import opened


async def test_an_instance_is_heard_of_again_when_the_database_returns(
    emptied_database: TestDatabase,
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("there is no way that could be cut")
    instance = Instance(instance_id="one", app="demo", host="host", pid=1, version="1.0")
    metrics = Metrics()
    async with cuttable(emptied_database) as (way, beyond), opened(beyond) as database:
        clock = SystemClock()
        heartbeat = Heartbeat(
            instances=InstanceStore(database=database),
            instance=instance,
            troubles=ReplicaTroubles(
                instance=instance,
                writer=PersistenceWriter(clock=clock, metrics=metrics),
                watchdog=Watchdog(clock=clock, metrics=metrics, blocked_after_s=1.0),
                clock=clock,
            ),
            metrics=metrics,
            interval_s=0.05,
        )
        beating = asyncio.create_task(heartbeat.run())

        async def heartbeat_at() -> object:
            rows = await emptied_database.execute("SELECT heartbeat_at FROM runtime_instance")
            return rows[0][0] if rows else None

        def failed() -> bool:
            return bool(metrics.registry.get_sample_value("piko_db_errors_total", {"part": "heartbeat"}))

        await wait_until_async(heartbeat_at, what="the first sign of life")
        way.close()
        await wait_until_async(failed, what="a beat that fails")
        silent_since = await heartbeat_at()
        way.open()

        async def beats_again() -> bool:
            return await heartbeat_at() != silent_since

        await wait_until_async(beats_again, what="the next sign of life")
        beating.cancel()
        await asyncio.wait({beating})
        assert beating.cancelled()
