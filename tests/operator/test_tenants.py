"""Teams and releases sharing a cluster: nobody takes what is another's, and no resource has two servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.operator.conftest import RULES, World, create_tables
from tests.operator.tenants import Team, bind, resource

_DAILY = {"cron": "@daily"}
_OWNERS = "SELECT job_id, SUBSTRING_INDEX(managed_by, '/', 3) FROM scheduled_job ORDER BY job_id"


@pytest.fixture
async def shared(
    mariadb: TestDatabase,
    teams: tuple[Team, Team],
    crds: ControlPlane,
    namespace: str,
    make_world: Callable[[TestDatabase], World],
) -> World:
    """The operator of both teams, of which each has the jobs that begin with its name."""
    names = [team.namespace for team in teams]
    bind(crds, "piko-operator", RULES, account=(namespace, "operator"), namespaces=names)
    world = make_world(await create_tables(mariadb))
    tenants = [
        {"namespaces": [name], "jobs": [f"{letter}_*", "both"]}
        for name, letter in zip(names, "ab", strict=True)
    ]
    world.start(PIKO_OPERATOR_NAMESPACES=",".join(names), PIKO_OPERATOR_TENANTS=json.dumps(tenants))
    return world


def _status(team: Team, kind: str, name: str) -> dict[str, Any]:
    _, text = team.kubectl("get", kind, name, "-o", "json")
    return dict(json.loads(text).get("status", {}))


async def _synced(team: Team, kind: str, name: str, *, reason: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        conditions = _status(team, kind, name).get("conditions", [])
        by_type = {item["type"]: item for item in conditions}
        return by_type if by_type.get("Synced", {}).get("reason") == reason else None

    return await wait_until_async(found, what=f"{kind} {name}: Synced {reason}")


async def test_a_team_cannot_take_the_job_of_another(shared: World, teams: tuple[Team, Team]) -> None:
    a, b = teams
    a.apply(resource("PikoSchedule", "mine", jobId="a_orders", schedule=_DAILY))
    await shared.until_row(_OWNERS, [("a_orders", f"test/{a.namespace}/mine")])
    b.apply(resource("PikoSchedule", "theirs", jobId="a_orders", schedule=_DAILY, adoptionPolicy="Adopt"))
    conditions = await _synced(b, "psch", "theirs", reason="NotAllowed")
    assert conditions["Stalled"]["status"] == "True"
    assert "may not claim this job" in conditions["Synced"]["message"]
    status = _status(b, "psch", "theirs")
    assert a.namespace not in json.dumps(status)
    assert "row" not in status
    b.apply(resource("PikoSchedule", "own", jobId="b_orders", schedule=_DAILY))
    await _synced(b, "psch", "own", reason="Synced")
    b.kubectl("delete", "psch", "theirs")  # what was never served is not held back either
    owners = [("a_orders", f"test/{a.namespace}/mine"), ("b_orders", f"test/{b.namespace}/own")]
    await shared.until_row(_OWNERS, owners)


async def test_the_config_of_a_job_comes_from_the_namespace_of_its_schedule(
    shared: World, teams: tuple[Team, Team]
) -> None:
    a, b = teams
    a.apply(resource("PikoSchedule", "both", jobId="both", schedule=_DAILY))
    await _synced(a, "psch", "both", reason="Synced")
    b.apply(resource("PikoJobConfig", "both", jobId="both", config={"rows": 1}))
    conditions = await _synced(b, "pjc", "both", reason="NotAllowed")
    assert "come from one namespace" in conditions["Synced"]["message"]
    assert a.namespace not in json.dumps(_status(b, "pjc", "both"))
    await shared.until_row("SELECT job_id FROM job_config", [])
    a.kubectl("delete", "psch", "both")
    await _synced(b, "pjc", "both", reason="Synced")
    await shared.until_row("SELECT job_id FROM job_config", [("both",)])


async def test_each_release_serves_its_own_class_and_is_silent_on_the_other(world: World) -> None:
    world.start(PIKO_OPERATOR_LEASE_NAME="plain")
    world.apply("PikoSchedule", "plain", jobId="plain", schedule=_DAILY)
    world.apply("PikoSchedule", "blue", jobId="blue", schedule=_DAILY, className="blue")
    world.apply("PikoSchedule", "later", jobId="later", schedule=_DAILY)
    for name in ("plain", "later"):
        await world.until_condition("psch", name, "Synced", reason="Synced")
    assert world.read("psch", "plain")["status"]["servedBy"] == f"{world.namespace}/piko-plain"
    blue = world.read("psch", "blue")
    assert blue["status"] == {"observedGeneration": -1}
    assert "finalizers" not in blue["metadata"]
    await world.until_row("SELECT job_id FROM scheduled_job ORDER BY job_id", [("later",), ("plain",)])


async def test_the_release_of_a_class_serves_only_that_class(world: World) -> None:
    world.start(PIKO_OPERATOR_CLASS_NAME="blue", PIKO_OPERATOR_LEASE_NAME="blue")
    world.apply("PikoSchedule", "plain", jobId="plain", schedule=_DAILY)
    world.apply("PikoSchedule", "blue", jobId="blue", schedule=_DAILY, className="blue")
    await world.until_condition("psch", "blue", "Synced", reason="Synced")
    assert world.read("psch", "blue")["status"]["servedBy"] == f"{world.namespace}/piko-blue"
    assert world.read("psch", "plain")["status"] == {"observedGeneration": -1}
    await world.until_row("SELECT job_id FROM scheduled_job", [("blue",)])


def test_a_class_cannot_be_changed(crds: ControlPlane, namespace: str) -> None:
    def apply(**spec: Any) -> str:
        body = resource("PikoSchedule", "a", jobId="a", schedule=_DAILY, **spec)
        outcome = crds.kubectl("-n", namespace, "apply", "-f", "-", input=json.dumps(body), check=False)
        return outcome.stderr

    assert apply(className="blue") == ""
    for changed in ({"className": "green"}, {}):
        assert "className is immutable: delete this resource and create another" in apply(**changed)
