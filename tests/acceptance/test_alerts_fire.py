"""Every alert of the chart fires and ends in a real Prometheus beside real replicas and a real operator.

A minute of the rules lasts two seconds here; `tests/chart/test_alerts.py` has the durations themselves.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.installation import Installation, install
from tests.chart.rendering import CHART
from tests.harness.alerts import AlertReadings, write_rules
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase, migrate
from tests.harness.ports import free_port
from tests.harness.programs import PikoProcessFactory
from tests.harness.prometheus import Labels, prometheus
from tests.harness.reaper import Reaper
from tests.harness.waiting import wait_until_async
from tests.harness.webhooks import KEY, WebhookServer
from tests.leadership.api_proxy import ApiProxy
from tests.runtime.replicas import Replica, Replicas, leader_of, schedule
from tests.store.cutting import CuttableWay, cuttable

_NAMESPACE = "watched"
_MINUTE_S = 2

_OF_JOBS = {
    "PikoJobLate of fails",
    "PikoJobFailing of fails",
    "PikoDueTimesMissed of impatient",
    "PikoRowsInvalid",
    "PikoQueueOld",
    "PikoEventLoopBlocked of blocks",
    "PikoDeadLetters",
    "PikoSinkStuck",
    "PikoWebhookStuck",
}
_OF_REPLICAS = {"PikoReplicaUnready", "PikoDatabaseAway", "PikoNoLeader", "PikoTwoLeaders"}
_OF_THE_OPERATOR = {"PikoResourcesNotSynced", "PikoOperatorSilent", "PikoOperatorDown", "PikoRowsHeld"}

# All that is wrong is so while there is a file `broken`.
_APP = """
import asyncio, time
from pathlib import Path
from piko import PikoApp, ResultSink

app = PikoApp(name="watched")

def broken():
    return Path("broken").exists()

class Shelf(ResultSink):
    async def write_batch(self, batch):
        if broken() and any(intent.key == "bad" for intent in batch):
            raise ValueError("no such shelf")

class Away(ResultSink):
    max_backoff_s = 1.0

    async def write_batch(self, batch):
        if broken():
            raise ConnectionError("nobody answers")

app.writer.register_sink(Shelf("shelf"))
app.writer.register_sink(Away("away"))

@app.job(job_id="writes")
async def writes(ctx, scheduled_time):
    await ctx.write("shelf", key="good", payload={"id": 1})
    await ctx.write("shelf", key="bad", payload={"id": 2})
    await ctx.write("away", key="any", payload={"id": 3})

@app.job(job_id="fails")
async def fails(ctx, scheduled_time):
    if broken():
        raise KeyError("customer_id")

@app.job(job_id="holds")
async def holds(ctx, scheduled_time):
    while broken():
        await asyncio.sleep(0.1)

@app.job(job_id="waits")
async def waits(ctx, scheduled_time):
    pass

@app.job(job_id="impatient")
async def impatient(ctx, scheduled_time):
    pass

@app.job(job_id="blocks")
async def blocks(ctx, scheduled_time):
    if broken():
        time.sleep(0.6)
"""


@contextmanager
def _watching(
    replicas: dict[str, int], *, namespace: str, folder: Path, reaper: Reaper
) -> Iterator[AlertReadings]:
    """A Prometheus with the chart's rules that scrapes pods by their names, at ports of loopback."""
    targets: dict[int, Labels] = {
        port: {"namespace": namespace, "pod": name} for name, port in replicas.items()
    }
    rules = write_rules(folder / "alerts.yaml", namespace=namespace, minute_s=_MINUTE_S)
    with prometheus(targets, folder=folder, reaper=reaper, rules=[rules]) as server:
        yield AlertReadings(server)


async def _until_fires(readings: AlertReadings, *alerts: str) -> None:
    missing = set(alerts)

    def all_have_fired() -> bool:
        missing.difference_update(readings.fired())
        return not missing

    try:
        await wait_until_async(all_have_fired, what="alerts to fire", interval=0.5)
    except AssertionError as failure:
        failure.add_note(f"never fired: {sorted(missing)}")
        raise


async def _until_silent(readings: AlertReadings, *, but: str) -> None:
    """Until no alert fires; `but`: the one of what this test has none of."""

    def silent() -> bool:
        return readings.firing() <= {but}

    try:
        await wait_until_async(silent, what="alerts to end", interval=0.5)
    except AssertionError as failure:
        failure.add_note(f"still fire: {sorted(readings.firing())}")
        raise


def test_each_alert_of_the_chart_fires_in_one_of_these_tests() -> None:
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    assert {alert.split()[0] for alert in _OF_JOBS | _OF_REPLICAS | _OF_THE_OPERATOR} == alerts


# ---- jobs and their results -------------------------------------------------------------------------


@pytest.mark.usefixtures("slow")
async def test_alerts_of_jobs_fire_until_what_is_wrong_is_repaired(
    mariadb: TestDatabase, piko_process: PikoProcessFactory, tmp_path: Path, reaper: Reaper
) -> None:
    await migrate(mariadb)
    replicas = Replicas(start_process=piko_process, folder=tmp_path)
    replicas.write(_APP)
    broken = tmp_path / "broken"
    broken.touch()
    await _rows_in_trouble(mariadb)
    with WebhookServer(lambda _: 503 if broken.exists() else 204) as receiver:
        webhook = {"PIKO_WEBHOOK_URL": receiver.url, "PIKO_WEBHOOK_KEY": KEY}
        replica = replicas.start(mariadb.dsn, environment={"PIKO_BLOCKED_LOOP_S": "0.2", **webhook})
        with _watching({"a": replica.port}, namespace=_NAMESPACE, folder=tmp_path, reaper=reaper) as readings:
            await _until_fires(readings, *_OF_JOBS)
            broken.unlink()
            await mariadb.execute(
                "UPDATE scheduled_job SET schedule_expr = '{\"seconds\": 60}' WHERE job_id = 'invalid'"
            )
            await _until_silent(readings, but="PikoOperatorDown")


async def _rows_in_trouble(database: TestDatabase) -> None:
    await schedule(database, "writes")
    await schedule(database, "fails", data_within_s=3)
    await schedule(database, "blocks", '{"seconds": 2}')
    await schedule(database, "invalid", '{"seconds": "many"}')
    # One run holds the only slot of its group: another waits for it, and one of a third job is too late.
    group: dict[str, Any] = {"concurrency_group": "g", "concurrency_limit": 1}
    await schedule(database, "holds", priority=9, **group)
    await schedule(database, "waits", overlap_policy="queue_all", misfire_grace_s=3600, **group)
    await schedule(database, "impatient", overlap_policy="queue_all", misfire_grace_s=1, **group)


# ---- replicas ---------------------------------------------------------------------------------------


@asynccontextmanager
async def _two_replicas(
    database: TestDatabase, replicas: Replicas
) -> AsyncIterator[list[tuple[Replica, CuttableWay]]]:
    """Two on one database, each with a way of its own to it."""
    async with AsyncExitStack() as stack:
        found = []
        for name in ("a", "b"):
            way, by_this_way = await stack.enter_async_context(cuttable(database))
            found.append((replicas.start(by_this_way.dsn, name=name), way))
        yield found


@pytest.mark.usefixtures("slow")
async def test_alerts_of_replicas_fire_until_they_are_well(
    mariadb: TestDatabase, piko_process: PikoProcessFactory, tmp_path: Path, reaper: Reaper
) -> None:
    await migrate(mariadb)
    replicas = Replicas(start_process=piko_process, folder=tmp_path)
    replicas.write(_APP)
    await schedule(mariadb, "waits")
    async with _two_replicas(mariadb, replicas) as pairs:
        ports = {replica.process.name: replica.port for replica, _ in pairs}
        _, standby = await leader_of(*(replica for replica, _ in pairs))
        ways = dict(pairs)
        with _watching(ports, namespace=_NAMESPACE, folder=tmp_path, reaper=reaper) as readings:
            ways[standby].close()
            await _until_fires(readings, "PikoReplicaUnready")
            assert "PikoDatabaseAway" not in readings.fired(), "the other replica reads the rows"
            ways[standby].open()
            await _until_silent(readings, but="PikoOperatorDown")
            for way in ways.values():
                way.close()
            await _until_fires(readings, "PikoDatabaseAway", "PikoNoLeader")
            for way in ways.values():
                way.open()
            await _until_silent(readings, but="PikoOperatorDown")


@pytest.mark.usefixtures("slow")
async def test_two_releases_in_one_namespace_have_two_leaders(
    mariadb: TestDatabase,
    sqlite: TestDatabase,
    piko_process: PikoProcessFactory,
    tmp_path: Path,
    reaper: Reaper,
) -> None:
    replicas = Replicas(start_process=piko_process, folder=tmp_path)
    replicas.write(_APP)
    started = []
    for name, database in {"a": mariadb, "b": sqlite}.items():
        await migrate(database)
        started.append(replicas.start(database.dsn, name=name))
    ports = {replica.process.name: replica.port for replica in started}
    with _watching(ports, namespace=_NAMESPACE, folder=tmp_path, reaper=reaper) as readings:
        await _until_fires(readings, "PikoTwoLeaders")
        started[1].process.kill()
        await _until_silent(readings, but="PikoOperatorDown")


# ---- the operator -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("slow")
async def test_alerts_of_the_operator_fire_until_it_acts(
    crds: ControlPlane,
    namespace: str,
    mariadb: TestDatabase,
    piko_process: PikoProcessFactory,
    tmp_path: Path,
    reaper: Reaper,
) -> None:
    port = free_port()
    with install(crds, namespace, mariadb, piko_process, tmp_path) as installation:
        installation.migrate()
        await schedule(mariadb, "of-sql", '{"seconds": 3600}')
        async with ApiProxy(crds, tmp_path).serving() as proxy:
            operator = installation.start_operator(kubeconfig=proxy.kubeconfig, port=port)
            with _watching(
                {"operator": port}, namespace=namespace, folder=tmp_path, reaper=reaper
            ) as readings:
                await _apply(installation, adoptionPolicy="Refuse")
                await _until_fires(readings, "PikoResourcesNotSynced")
                await _apply(installation, adoptionPolicy="Adopt")
                await _until_silent(readings, but="PikoNoLeader")
                # What a busy API server may ask for, and the watch obeys.
                proxy.watches_again_after_s = 3600
                await _until_fires(readings, "PikoOperatorSilent")
                proxy.watches_again_after_s = None
                operator.kill()  # as Kubernetes does, by its liveness
                await _until_fires(readings, "PikoOperatorDown")
                await _rows_without_resources(mariadb)
                installation.start_operator(kubeconfig=proxy.kubeconfig, port=port, sweep_interval_s=1)
                await _until_fires(readings, "PikoRowsHeld")
                await mariadb.execute("DELETE FROM scheduled_job WHERE job_id LIKE 'lost-%'")
                await _until_silent(readings, but="PikoNoLeader")
                assert readings.fired() - {"PikoNoLeader"} == _OF_THE_OPERATOR


async def _apply(installation: Installation, **spec: str) -> None:
    resource = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoSchedule",
        "metadata": {"name": "of-sql", "namespace": installation.namespace},
        "spec": {"jobId": "of-sql", "schedule": {"interval": {"every": "1h"}}, **spec},
    }
    apply = partial(installation.control_plane.kubectl, "apply", "-f", "-", input=json.dumps(resource))
    await asyncio.to_thread(apply)


async def _rows_without_resources(database: TestDatabase) -> None:
    """More than one sweep may disable, as if somebody had taken the resources away."""
    ((owner,),) = await database.execute("SELECT managed_by FROM scheduled_job WHERE job_id = 'of-sql'")
    place, _, _ = owner.rsplit("/", 2)
    for number in range(12):
        name = f"lost-{number}"
        await schedule(database, name, '{"seconds": 3600}', managed_by=f"{place}/{name}/uid-{number}")
