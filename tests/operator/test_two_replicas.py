"""Two replicas of the operator: one acts, the other takes over. The audit log says who wrote."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from piko.store.schema.migrate import upgrade
from tests.harness.control_plane import AuditedWrite, OwnControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until
from tests.operator.conftest import RULES
from tests.operator.tenants import bind
from tests.serving.sockets import answer_of

_ROOT = Path(__file__).parents[2]
_CHANGES = 50


@dataclass(frozen=True, slots=True)
class Replica:
    """One process, and the user that it is for the API server."""

    account: str
    process: ChildProcess
    port: int

    def get(self, path: str) -> tuple[int, str]:
        return answer_of(self.port, path)

    @property
    def acts(self) -> bool:
        """Whether it says that it leads; the metric has no series before its first word."""
        lines = self.get("/metrics")[1].splitlines()
        return any(" 1.0" in line for line in lines if line.startswith("piko_operator_leader_status{"))


@pytest.fixture
async def make_replica(
    own_control_plane: OwnControlPlane, mariadb: TestDatabase, piko_process: PikoProcessFactory
) -> tuple[str, Callable[[str], Replica]]:
    """The namespace, and what starts a replica under an account of its own."""
    plane = own_control_plane
    plane.install_crds(_ROOT / "crds")
    await upgrade(mariadb.dsn)
    namespace = plane.create_namespace()
    identity = {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]}

    def start(account: str) -> Replica:
        kubeconfig, port = plane.service_account_kubeconfig(namespace, account), free_port()
        bind(plane, account, RULES, account=(namespace, account), namespaces=[namespace])
        bind(plane, f"{account}-identity", [identity], account=(namespace, account), namespaces=[])
        environment = {
            "KUBECONFIG": str(kubeconfig),
            "PIKO_MYSQL_DSN": mariadb.dsn,
            "PIKO_OPERATOR_NAMESPACES": namespace,
            "PIKO_OPERATOR_LEASE_NAMESPACE": namespace,
            "PIKO_OPERATOR_HTTP_PORT": str(port),
        }
        process = piko_process("-m", "piko_operator", env=environment, name=account)
        process.wait_for_line("operator_started")
        return Replica(account, process, port)

    return namespace, start


async def test_of_two_replicas_one_writes_and_the_other_takes_over(
    own_control_plane: OwnControlPlane, make_replica: tuple[str, Callable[[str], Replica]]
) -> None:
    plane, (namespace, start) = own_control_plane, make_replica
    numbers = itertools.count()

    def apply(count: int = 1) -> None:
        items = [
            {
                "apiVersion": "piko.dev/v1",
                "kind": "PikoSchedule",
                "metadata": {"name": f"s-{number}"},
                "spec": {"jobId": f"job-{number}", "schedule": {"cron": "@daily"}},
            }
            for number in itertools.islice(numbers, count)
        ]
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        plane.kubectl("-n", namespace, "create", "-f", "-", input=body)

    def writes() -> list[AuditedWrite]:
        found = [item for item in plane.writes(namespace) if item.agent == "piko-operator"]
        return [item for item in found if item.resource.startswith("pikoschedules")]

    def until_written_by(replica: Replica, name: str) -> None:
        def written() -> bool:
            return any(
                item.name == name
                and item.resource == "pikoschedules/status"
                and item.user.endswith(f":{replica.account}")
                for item in writes()
            )

        wait_until(written, what=f"a status of {name} by {replica.account}")

    first = start("first")
    wait_until(lambda: first.acts, what="the first replica to act")
    wait_until(lambda: first.get("/readyz")[0] == 200, what="the first replica to be ready")
    second = start("second")
    wait_until(lambda: second.get("/readyz")[0] == 200, what="the standby to be ready")
    apply(_CHANGES)
    until_written_by(first, f"s-{_CHANGES - 1}")
    assert not second.acts
    assert second.get("/healthz")[0] == 200
    assert "operator_acts" not in second.process.output

    first.process.kill()
    apply()
    until_written_by(second, f"s-{_CHANGES}")

    third = start("third")
    assert second.process.terminate() == 0
    assert "leadership_released" in second.process.output, "it does not wait for the Lease to expire"
    apply()
    until_written_by(third, f"s-{_CHANGES + 1}")

    wrote = [key.rpartition(":")[2] for key, _ in itertools.groupby(writes(), key=lambda item: item.user)]
    assert wrote == ["first", "second", "third"], "no replica wrote after the next one had begun"
    assert [item for item in writes() if item.status == 409] == []
