"""How often the status of a resource is written."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from piko.clock import SystemClock
from piko.errors import DatabaseUnavailableError
from piko.model.summaries import JobSummary
from piko.store.reports.objectives import Objectives
from piko.store.reports.summaries import Summaries
from piko_operator.cluster import Cluster
from piko_operator.events import Events
from piko_operator.inventory import SCHEDULE, Inventory, Seen, seen_from
from piko_operator.metrics import OperatorMetrics
from piko_operator.pacing import Pacing
from piko_operator.records import SyncRecords
from piko_operator.status import StatusWriter
from piko_operator.tally import ConditionTally
from tests.harness.waiting import wait_until_async

_MORE_THAN_ARE_WRITTEN_AT_ONCE = 20
_LOOKS = 5


class _MovedClock(SystemClock):
    """Its time passes when the test says so."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 30, 18, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


class _UnreadSummaries(Summaries):
    """Of a database that is away; counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def jobs(self, job_ids: Collection[str]) -> dict[str, JobSummary]:
        self.asked += 1
        raise DatabaseUnavailableError("away")


class _HeldCluster(Cluster):
    """Answers patches when the test says so."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.asked: list[str] = []

    async def patch_status(self, seen: Seen, patch: Mapping[str, Any]) -> Seen:
        self.asked.append(seen.uid)
        await self.answers.wait()
        version = str(1000 + len(self.asked))
        return _seen(seen.uid, version=version, status={**seen.status, **patch})


def _seen(uid: str, *, version: str, status: Mapping[str, Any]) -> Seen:
    metadata = {"namespace": "ns", "name": uid, "uid": uid, "generation": 2, "resourceVersion": version}
    return seen_from({"metadata": metadata, "spec": {"jobId": uid}, "status": status}, kind=SCHEDULE)


async def test_an_outage_is_written_once_however_long_the_api_server_takes() -> None:
    clock, inventory, summaries, cluster = _MovedClock(), Inventory(), _UnreadSummaries(), _HeldCluster()
    records = SyncRecords(clock=clock, inventory=inventory)
    writer = StatusWriter(
        cluster=cluster,
        clock=clock,
        events=Events(cluster=cluster, clock=clock),
        inventory=inventory,
        objectives=cast(Objectives, None),
        owner=lambda seen: f"default/ns/{seen.name}/{seen.uid}",
        pacing=Pacing(writes_per_s=1000),
        records=records,
        summaries=summaries,
        tally=ConditionTally(metrics=OperatorMetrics()),
        interval_s=0.01,
        served_by="ns/piko-operator",
    )
    names = [f"s{number}" for number in range(_MORE_THAN_ARE_WRITTEN_AT_ONCE)]
    for name in names:
        inventory.observe(_seen(name, version="1", status={}))
        seen = inventory.get(name)
        assert seen is not None
        assert records.unknown(seen, "DatabaseUnavailable", "away")
    writer.look(*names)

    async def looks_again() -> None:
        asked = summaries.asked
        await wait_until_async(lambda: summaries.asked >= asked + _LOOKS, what="the writer to look again")

    running = asyncio.create_task(writer.run())
    try:
        await wait_until_async(lambda: bool(cluster.asked), what="the first patches")
        clock.at += timedelta(seconds=7)
        await looks_again()
        cluster.answers.set()
        await wait_until_async(lambda: set(cluster.asked) == set(names), what="a patch of each")
        await looks_again()
    finally:
        running.cancel()
        await asyncio.wait([running])
    assert sorted(cluster.asked) == sorted(names), "one patch each"
