"""An operator of some namespaces, of which one has no Role, or is not there: it stops no other."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import kopf
import pytest
from aiohttp import ClientConnectionError, web

from piko_operator.handlers import watch_session
from tests.cli.piko import piko_here
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENTLY, wait_until_async
from tests.operator.conftest import RULES, World, create_tables
from tests.operator.tenants import Team, bind, resource
from tests.serving.sockets import answer_of

_ROWS = "SELECT job_id, enabled FROM scheduled_job ORDER BY job_id"
_DAILY = {"cron": "@daily"}


@pytest.fixture
async def world(
    mariadb: TestDatabase,
    teams: tuple[Team, Team],
    crds: ControlPlane,
    namespace: str,
    make_world: Callable[[TestDatabase], World],
) -> World:
    """The operator of both teams; it is not started yet."""
    names = [team.namespace for team in teams]
    bind(crds, "piko-operator", RULES, account=(namespace, "operator"), namespaces=names)
    return make_world(await create_tables(mariadb))


def _refused(world: World) -> str:
    """How many namespaces are refused, by the metric."""
    lines = answer_of(world.port, "/metrics")[1].splitlines()
    return next(line.split()[1] for line in lines if line.startswith("piko_operator_namespaces_refused "))


async def test_a_namespace_that_is_not_there_or_loses_its_role_is_reported_and_stops_no_other(
    world: World, teams: tuple[Team, Team], crds: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    a, b = teams
    served = (a.namespace, b.namespace, "piko-test-that-is-not-there")
    running = world.start(PIKO_OPERATOR_NAMESPACES=",".join(served))
    assert "piko-test-that-is-not-there" in running.wait_for_line("namespace_not_listed")
    for team, job in ((a, "a"), (b, "b")):
        team.apply(resource("PikoSchedule", job, jobId=job, schedule=_DAILY))
    await world.until_row(_ROWS, [("a", 1), ("b", 1)])
    b.kubectl("wait", "--for=condition=Synced", "psch/b", PATIENTLY)

    crds.kubectl("-n", b.namespace, "delete", "rolebinding,role", "piko-operator")
    running.wait_for_line(f"{b.namespace}.*namespace_not_listed")
    await wait_until_async(lambda: _refused(world) == "2.0", what="the metric to count it")
    a.apply(resource("PikoSchedule", "meanwhile", jobId="meanwhile", schedule=_DAILY))
    await world.until_row(_ROWS, [("a", 1), ("b", 1), ("meanwhile", 1)])
    assert answer_of(world.port, "/readyz")[0] == 200
    assert answer_of(world.port, "/healthz")[0] == 200
    assert "orphan" not in running.output, "what cannot be seen has not vanished"

    bind(crds, "piko-operator", RULES, account=(namespace, "operator"), namespaces=[b.namespace])
    running.wait_for_line(f"{b.namespace}.*namespace_listed_again")
    b.apply(resource("PikoSchedule", "later", jobId="later", schedule=_DAILY))
    await world.until_row(_ROWS, [("a", 1), ("b", 1), ("later", 1), ("meanwhile", 1)])
    assert _refused(world) == "1.0"

    async def not_listed() -> dict[str, str] | None:
        words = ("status", "-o", "json")
        answer = await asyncio.to_thread(piko_here, *words, cwd=tmp_path, dsn=world.database.dsn)
        found = [item for item in json.loads(answer.out)["troubles"] if item["kind"] == "not_listed"]
        return found[0] if len(found) == 1 else None

    found = await wait_until_async(not_listed, what="`piko status` to name one namespace", interval=1.0)
    assert found["subject"] == "namespace piko-test-that-is-not-there"
    assert found["remedy"].startswith("create the namespace and the operator's Role in it")


async def test_an_operator_that_may_list_nothing_is_not_ready(world: World, teams: tuple[Team, Team]) -> None:
    world.start(PIKO_OPERATOR_NAMESPACES="piko-test-that-is-not-there,nor-this-one")
    await wait_until_async(
        lambda: "the operator is not allowed to list" in answer_of(world.port, "/readyz")[1],
        what="/readyz to say why",
    )


@pytest.fixture
async def refusing() -> AsyncIterator[str]:
    """The address of a server that allows nothing."""

    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"message": "forbidden"}, status=403)

    application = web.Application()
    application.router.add_get("/{path:.*}", refuse)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def test_a_refusal_that_is_borne_looks_to_kopf_like_a_broken_connection(refusing: str) -> None:
    asked: list[tuple[str, bool]] = []

    def note(path: str, is_watch: bool) -> None:
        asked.append((path, is_watch))

    context = watch_session(
        kopf.ConnectionInfo(server=refusing), asked=note, bears=lambda path: path == "/borne"
    )
    async with context.aiohttp_session as session:
        with pytest.raises(ClientConnectionError, match="/borne may not be listed or watched"):
            await session.get(f"{refusing}/borne")
        async with session.get(f"{refusing}/other?watch=true") as answer:
            assert answer.status == 403, "it ends kopf, and with it the part, which is reported"
    assert asked == [("/borne", False), ("/other", True)]
