"""The operator as a process of its own, with the rights it has in a cluster and no others."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from piko.store.schema.migrate import upgrade
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.operator.tenants import Team, bind, team_of, unbind, user_of

_ACCOUNT = "operator"
RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["piko.dev"],
        "resources": ["pikoschedules", "pikojobconfigs", "pikobackfills"],
        "verbs": ["get", "list", "watch", "patch"],
    },
    {
        "apiGroups": ["piko.dev"],
        "resources": ["pikoschedules/status", "pikojobconfigs/status", "pikobackfills/status"],
        "verbs": ["patch"],
    },
    {"apiGroups": ["piko.dev"], "resources": ["pikobackfills"], "verbs": ["delete"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["get", "create", "update"],
    },
]

_IDENTITY: dict[str, Any] = {
    "apiGroups": [""],
    "resources": ["namespaces"],
    "resourceNames": ["kube-system"],
    "verbs": ["get"],
}


async def create_tables(database: TestDatabase) -> TestDatabase:
    await upgrade(database.dsn)
    return database


@dataclass(frozen=True, slots=True)
class World:
    """One namespace, one database, and the operator between them."""

    control_plane: ControlPlane
    namespace: str
    database: TestDatabase
    start: Callable[..., ChildProcess]
    port: int

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return self.control_plane.kubectl("-n", self.namespace, *arguments, input=stdin).stdout

    def apply(self, kind: str, name: str, **spec: Any) -> None:
        body = {"apiVersion": "piko.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        self.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    def read(self, kind: str, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def condition(self, kind: str, name: str, condition: str) -> dict[str, Any]:
        """A condition that speaks of the present generation; empty until there is one."""
        body = self.read(kind, name)
        for item in body.get("status", {}).get("conditions", []):
            if item["type"] == condition and item["observedGeneration"] == body["metadata"]["generation"]:
                return dict(item)
        return {}

    async def until_condition(self, kind: str, name: str, condition: str, *, reason: str) -> dict[str, Any]:
        def reached() -> dict[str, Any] | None:
            found = self.condition(kind, name, condition)
            return found if found.get("reason") == reason else None

        return await wait_until_async(reached, what=f"{kind} {name}: {condition} {reason}")

    async def until_row(self, query: str, expected: object) -> None:
        async def same() -> bool:
            return [tuple(row) for row in await self.database.execute(query)] == expected

        await wait_until_async(same, what=f"{query} = {expected}", interval=0.1)

    def events(self, reason: str) -> list[str]:
        items = json.loads(self.kubectl("get", "events", "-o", "json"))["items"]
        return [item["message"] for item in items if item["reason"] == reason]


def grant(control_plane: ControlPlane, namespace: str, rules: list[dict[str, Any]], *, name: str) -> None:
    """Give the operator's account a role in the namespace."""
    control_plane.service_account_kubeconfig(namespace, _ACCOUNT)
    bind(control_plane, name, rules, account=(namespace, _ACCOUNT), namespaces=[namespace])


def let_identify(control_plane: ControlPlane, namespace: str, *, may: bool = True) -> None:
    """Let the operator's account of the namespace see which cluster this is, or no longer."""
    account, name = (namespace, _ACCOUNT), f"piko-test-identity-{namespace}"
    if may:
        control_plane.service_account_kubeconfig(namespace, _ACCOUNT)
        bind(control_plane, name, [_IDENTITY], account=account, namespaces=[])
    else:
        unbind(control_plane, name)
        control_plane.until_may(
            user_of(account), "get", "namespaces/kube-system", namespace=namespace, may=False
        )


@pytest.fixture
def teams(crds: ControlPlane) -> Iterator[tuple[Team, Team]]:
    """Two namespaces, each with the user of a team."""
    with team_of(crds) as a, team_of(crds) as b:
        yield a, b


def world_of(
    control_plane: ControlPlane,
    namespace: str,
    database: TestDatabase,
    *,
    kubeconfig: Path,
    programs: PikoProcessFactory,
) -> World:
    """One in which the operator is the user of `kubeconfig`; it is not started yet."""
    port = free_port()

    def start(**settings: str) -> ChildProcess:
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "PIKO_MYSQL_DSN": database.dsn,
            "PIKO_OPERATOR_CLUSTER": "test",
            "PIKO_OPERATOR_NAMESPACES": namespace,
            "PIKO_OPERATOR_LEASE_NAMESPACE": namespace,
            "PIKO_OPERATOR_HTTP_PORT": str(port),
            "PIKO_OPERATOR_STATUS_INTERVAL_S": "0.2",
            "PIKO_OPERATOR_SWEEP_INTERVAL_S": "2",
            **settings,
        }
        process = programs("-m", "piko_operator", env=environment, name="operator")
        process.wait_for_line("operator_started")
        return process

    return World(control_plane=control_plane, namespace=namespace, database=database, start=start, port=port)


@pytest.fixture
def make_world(
    crds: ControlPlane, namespace: str, piko_process: PikoProcessFactory
) -> Callable[[TestDatabase], World]:
    grant(crds, namespace, RULES, name="piko-operator")
    let_identify(crds, namespace)
    kubeconfig = crds.service_account_kubeconfig(namespace, _ACCOUNT)
    return partial(world_of, crds, namespace, kubeconfig=kubeconfig, programs=piko_process)


@pytest.fixture
async def world(mariadb: TestDatabase, make_world: Callable[[TestDatabase], World]) -> World:
    """MariaDB with its tables; the operator is not started yet."""
    return make_world(await create_tables(mariadb))
