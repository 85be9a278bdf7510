"""Watches that cannot go on from where they were, because etcd has forgotten it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from piko_operator.inventory import PLURALS
from tests.harness.control_plane import OwnControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.leadership.api_proxy import ApiProxy
from tests.operator.conftest import World, create_tables, world_of

_CRDS = Path(__file__).parents[2] / "crds"
_DAILY = {"cron": "@daily"}
_ROWS = "SELECT job_id, priority FROM scheduled_job ORDER BY job_id"
_SECRETS = "SELECT secret_json FROM job_config"
_FROM_SECRET = {"secretKeyRef": {"name": "s", "key": "password", "path": "password"}}


async def test_changes_that_etcd_has_forgotten_are_seen_by_a_watch_that_lists_again(
    own_control_plane: OwnControlPlane,
    mariadb: TestDatabase,
    piko_process: PikoProcessFactory,
    tmp_path: Path,
) -> None:
    """Another API server answers then, as in an update of a cluster; the operator acts all the time."""
    plane = own_control_plane
    await asyncio.to_thread(plane.install_crds, _CRDS)
    namespace = await asyncio.to_thread(plane.create_namespace)
    kinds = {f"/apis/piko.dev/v1/namespaces/{namespace}/{plural}" for plural in PLURALS.values()}
    async with ApiProxy(plane, tmp_path).serving() as proxy:
        world = world_of(
            plane,
            namespace,
            await create_tables(mariadb),
            kubeconfig=proxy.kubeconfig,
            programs=piko_process,
        )
        running = await asyncio.to_thread(world.start, PIKO_OPERATOR_SWEEP_INTERVAL_S="3600")
        await asyncio.to_thread(_begin, world)
        before = [("deleted", 0), ("edited", 0), ("kept", 0)]
        await world.until_row(_ROWS, before)
        await world.until_row(_SECRETS, [(_secret("one"),)])
        await wait_until_async(lambda: proxy.watched >= kinds, what="a watch of each kind")

        proxy.end_watches()
        await asyncio.to_thread(_change, world)
        await asyncio.to_thread(plane.compact)
        proxy.lead_to(await asyncio.to_thread(plane.start_another))
        assert [tuple(row) for row in await world.database.execute(_ROWS)] == before
        proxy.watches = True

        await world.until_row(_ROWS, [("created", 0), ("edited", 7), ("kept", 0)])
        await world.until_row(_SECRETS, [(_secret("two"),)])
        await wait_until_async(lambda: set(proxy.too_old) == kinds, what="the version of each to be too old")
        await wait_until_async(
            lambda: running.output.count("watch_listed_again") == len(kinds), what="the operator to say so"
        )
        assert "operator_on_standby" not in running.output, "it acted all the time, and its watches went on"


def _begin(world: World) -> None:
    for name in ("kept", "edited", "deleted"):
        world.apply("PikoSchedule", name, jobId=name, schedule=_DAILY)
    world.kubectl("create", "secret", "generic", "s", "--from-literal=password=one")
    world.apply("PikoJobConfig", "kept", jobId="kept", config={"a": 1}, configFrom=[_FROM_SECRET])


def _change(world: World) -> None:
    world.apply("PikoSchedule", "edited", jobId="edited", schedule=_DAILY, priority=7)
    world.apply("PikoSchedule", "created", jobId="created", schedule=_DAILY)
    world.kubectl("delete", "psch", "deleted", "--wait=false")
    world.kubectl("patch", "secret", "s", "-p", '{"stringData": {"password": "two"}}')


def _secret(password: str) -> str:
    return json.dumps({"password": password}, separators=(",", ":"))
