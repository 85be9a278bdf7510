"""The dashboard of the chart, by a real Prometheus that scrapes a real replica and a real operator."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.installation import EXAMPLES, install
from tests.chart.rendering import CHART
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.prometheus import Prometheus, prometheus
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, schedule

_DASHBOARD: dict[str, Any] = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
_PANELS = [panel for panel in _DASHBOARD["panels"] if panel["type"] != "row"]

# What panels are about happens: runs that succeed, fail, are tried again, overlap and block, windows, some of
# which are dropped, results, dead letters.
_APP = """
import asyncio, time
from piko import PikoApp, ResultSink

app = PikoApp(name="seen")

class Shelf(ResultSink):
    async def write_batch(self, batch):
        if any(intent.key == "bad" for intent in batch):
            raise ValueError("no such shelf")

app.writer.register_sink(Shelf("shelf"))

@app.job(job_id="writes")
async def writes(ctx, scheduled_time):
    await ctx.write("shelf", key="good", payload={"id": 1})
    await ctx.write("shelf", key="bad", payload={"id": 2})

@app.job(job_id="fails")
async def fails(ctx, scheduled_time):
    raise KeyError("customer_id")

@app.job(job_id="overlaps")
async def overlaps(ctx, scheduled_time):
    await asyncio.sleep(2.5)

@app.job(job_id="blocks")
async def blocks(ctx, scheduled_time):
    time.sleep(0.6)

@app.job(job_id="windows", stateful=True)
async def windows(ctx, scheduled_time):
    pass
"""


@pytest.fixture
async def server(
    crds: ControlPlane,
    namespace: str,
    mariadb: TestDatabase,
    piko_process: PikoProcessFactory,
    tmp_path: Path,
    reaper: Reaper,
) -> AsyncIterator[Prometheus]:
    """Prometheus beside a replica that has all of that to do, and the operator of some resources."""
    with install(crds, namespace, mariadb, piko_process, tmp_path) as installation:
        installation.migrate()
        operator = installation.start_operator()
        replica = await _replica(mariadb, piko_process, tmp_path)
        installation.kubectl("apply", "-f", EXAMPLES / "cluster" / "schedule.yaml")
        installation.wait_for("condition=Synced", "psch", "--all")
        targets = {
            replica.port: {"namespace": namespace, "pod": "replica"},
            _port_of(operator): {"namespace": namespace, "pod": "operator"},
        }
        with prometheus(targets, folder=tmp_path, reaper=reaper) as running:
            yield running


async def _replica(database: TestDatabase, start_process: PikoProcessFactory, folder: Path) -> Replica:
    await schedule(database, "writes", data_within_s=3600)
    await schedule(database, "fails", data_within_s=3600, max_attempts=2, retry_backoff_s=0.2)
    await schedule(database, "overlaps", overlap_policy="skip")
    an_hour_ago = datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=1)
    await schedule(database, "windows", last_data_time=str(an_hour_ago), backfill_max_windows=10)
    await schedule(database, "blocks", '{"seconds": 2}')
    replicas = Replicas(start_process=start_process, folder=folder)
    replicas.write(_APP)
    return replicas.start(database.dsn, environment={"PIKO_BLOCKED_LOOP_S": "0.2"})


def _port_of(operator: ChildProcess) -> int:
    started = json.loads(operator.wait_for_line('"event": "operator_started"'))
    return int(started["http"].rpartition(":")[2])


async def test_every_query_of_the_dashboard_finds_series(
    server: Prometheus, namespace: str, mariadb: TestDatabase
) -> None:
    missing = [query for panel in _PANELS for query in _queries(panel, namespace)]
    priorities = itertools.count(1)

    async def all_found() -> bool:
        # An edit by SQL, which the operator restores: its counter grows again and again.
        await mariadb.execute(
            f"UPDATE scheduled_job SET priority = {next(priorities)} WHERE managed_by IS NOT NULL"
        )
        missing[:] = [query for query in missing if not _found(server, query)]
        return not missing

    try:
        await wait_until_async(all_found, what="every query to find series", interval=0.5)
    except AssertionError as failure:
        failure.add_note("\n".join(["without series:", *missing]))
        raise
    # What the first sight says is what the jobs did; a scrape may fall into one that keeps the event loop.
    for title, said in {"Leaders": 1, "Failing jobs": 1, "Late jobs": 0, "Ready replicas": 1}.items():
        says = partial(_value, server, title, namespace)
        await wait_until_async(lambda: says() == said, what=f"{title!r} to say {said}")  # noqa: B023


def _found(server: Prometheus, query: str) -> bool:
    """Whether it finds series, other than the one that stands in a panel for none."""
    return any("none" not in series["metric"].values() for series in server.query(query))


def _queries(panel: Mapping[str, Any], namespace: str) -> list[str]:
    """As Grafana would send them, of one namespace and of all jobs."""
    variables = {"$namespace": namespace, "$job": ".*", "$__rate_interval": "30s"}
    found = [str(target["expr"]) for target in panel["targets"]]
    for name, value in variables.items():
        found = [query.replace(name, value) for query in found]
    return found


def _value(server: Prometheus, title: str, namespace: str) -> float | None:
    """What the panel shows, once there is one series; none where the last scrape had no answer."""
    (panel,) = (panel for panel in _PANELS if panel["title"] == title)
    (found,) = (server.query(query) for query in _queries(panel, namespace))
    return float(found[0]["value"][1]) if len(found) == 1 else None
