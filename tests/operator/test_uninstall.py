"""Finalizers after the operator: removed on a real API server, with the rights of the chart's hook alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from kubernetes_asyncio.client import Configuration
from kubernetes_asyncio.config import load_kube_config

from piko.clock import SystemClock
from piko.errors import RefusedError
from piko_operator.api_session import ApiSession
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.finalizer_removal import Served
from piko_operator.resource_api import KubernetesApi
from piko_operator.uninstallation import uninstall
from tests.harness.control_plane import ControlPlane
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.operator.conftest import World
from tests.operator.tenants import bind

_ACCOUNT = "uninstall"
_RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["piko.dev"],
        "resources": ["pikoschedules", "pikojobconfigs", "pikobackfills"],
        "verbs": ["list", "patch"],
    },
]
_LEASE_RULES = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get"]}]
_LEASE = "piko-operator"
_OURS, _OTHERS = "piko.dev/finalizer", "example.com/keep"
_DONE, _LEFT, _CANNOT = 0, 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Deserted:
    """A namespace with resources that an operator has held."""

    plane: ControlPlane
    namespace: str
    kubeconfig: Path
    start_process: PikoProcessFactory

    def kubectl(self, *arguments: str, body: object = None) -> str:
        text = None if body is None else json.dumps(body)
        return self.plane.kubectl("-n", self.namespace, *arguments, input=text).stdout

    def hold(
        self,
        *names: str,
        finalizers: Sequence[str] = (_OURS,),
        served_by: str | None = None,
        **spec: str,
    ) -> None:
        """Create PikoSchedules with finalizers, and say in their status who serves them."""
        items = [_schedule(name, finalizers, spec) for name in names]
        self.kubectl("create", "-f", "-", body={"apiVersion": "v1", "kind": "List", "items": items})
        for name in names if served_by is not None else ():
            status = json.dumps({"status": {"servedBy": served_by}})
            self.kubectl("patch", "psch", name, "--subresource=status", "--type=merge", "-p", status)

    def take_lease(self, *, holder: str | None, duration_s: int) -> None:
        """Write the operator's Lease as somebody does who will not renew it."""
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": _LEASE},
            "spec": {
                "leaseDurationSeconds": duration_s,
                **({} if holder is None else {"holderIdentity": holder}),
            },
        }
        self.kubectl("apply", "-f", "-", body=lease)

    def finalizers(self) -> dict[str, list[str]]:
        """Those of each resource that there is."""
        items = json.loads(self.kubectl("get", "psch,pjc,pbf", "-o", "json"))["items"]
        return {
            f"{item['kind']} {item['metadata']['name']}": item["metadata"].get("finalizers", [])
            for item in items
        }

    def start(self, *arguments: str) -> ChildProcess:
        return self.start_process(
            "-m",
            "piko_operator.uninstall",
            f"--lease={self.namespace}/{_LEASE}",
            f"--namespace={self.namespace}",
            *arguments,
            env={"KUBECONFIG": str(self.kubeconfig)},
            name="uninstall",
        )

    def uninstall(self, *arguments: str) -> tuple[int, str]:
        """The exit code and what was said."""
        process = self.start(*arguments)
        return process.wait(), process.output


@pytest.fixture
def deserted(crds: ControlPlane, namespace: str, piko_process: PikoProcessFactory) -> Deserted:
    kubeconfig = crds.service_account_kubeconfig(namespace, _ACCOUNT)
    for name, rules in (("resources", _RULES), ("lease", _LEASE_RULES)):
        bind(crds, name, rules, account=(namespace, _ACCOUNT), namespaces=[namespace])
    return Deserted(plane=crds, namespace=namespace, kubeconfig=kubeconfig, start_process=piko_process)


def _schedule(name: str, finalizers: Sequence[str], spec: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoSchedule",
        "metadata": {"name": name, "finalizers": list(finalizers)},
        "spec": {"jobId": name, "schedule": {"cron": "@daily"}, **spec},
    }


def test_the_operators_finalizer_is_removed_and_nothing_else(deserted: Deserted) -> None:
    deserted.hold("first", finalizers=[_OTHERS, _OURS])
    deserted.hold("last", finalizers=[_OURS, _OTHERS])
    deserted.hold("free", finalizers=[_OTHERS])
    before = _specs(deserted)
    code, said = deserted.uninstall()
    assert (code, "removed the finalizer of 2 PikoSchedules, 0 PikoJobConfigs, 0 PikoBackfills" in said) == (
        _DONE,
        True,
    ), said
    assert "No row was changed" in said
    assert set(map(tuple, deserted.finalizers().values())) == {(_OTHERS,)}
    assert _specs(deserted) == before
    code, said = deserted.uninstall()
    assert (code, "removed the finalizer of 0 PikoSchedules" in said) == (_DONE, True)


def _specs(deserted: Deserted) -> list[Any]:
    """What a change of the spec would change."""
    items = json.loads(deserted.kubectl("get", "psch", "-o", "json"))["items"]
    return [(item["spec"], item["metadata"]["generation"], item.get("status")) for item in items]


def test_many_resources_of_every_kind_are_let_go(deserted: Deserted) -> None:
    deserted.hold(*(f"job-{number}" for number in range(250)))
    meta = {"name": "a", "finalizers": [_OURS]}
    config = {"kind": "PikoJobConfig", "metadata": meta, "spec": {"jobId": "a", "config": {}}}
    backfill = {
        "kind": "PikoBackfill",
        "metadata": meta,
        "spec": {"jobId": "a", "from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"},
    }
    for body in (config, backfill):
        deserted.kubectl("create", "-f", "-", body={"apiVersion": "piko.dev/v1", **body})
    code, said = deserted.uninstall()
    assert code == _DONE, said
    assert "removed the finalizer of 250 PikoSchedules, 1 PikoJobConfig, 1 PikoBackfill" in said
    assert not any(deserted.finalizers().values())
    deserted.kubectl("delete", "psch,pjc,pbf", "--all", "--timeout=60s")
    assert deserted.finalizers() == {}


def test_resources_of_another_class_or_operator_are_left_and_named(deserted: Deserted) -> None:
    ours = f"{deserted.namespace}/{_LEASE}"
    deserted.hold("ours", served_by=ours)
    deserted.hold("new")
    deserted.hold("blue", className="blue")
    deserted.hold("theirs", served_by="other/piko-operator")
    code, said = deserted.uninstall()
    assert code == _DONE, said
    assert f"left alone, since 1 is of class blue: PikoSchedule {deserted.namespace}/blue" in said
    assert "since 1 is served by other/piko-operator: PikoSchedule" in said
    held = {name for name, finalizers in deserted.finalizers().items() if finalizers}
    assert held == {"PikoSchedule blue", "PikoSchedule theirs"}
    code, said = deserted.uninstall("--class-name=blue")
    assert "since 1 is without a class: PikoSchedule" in said
    assert deserted.finalizers()["PikoSchedule blue"] == []


def test_a_dry_run_says_what_would_be_done_and_does_nothing(deserted: Deserted) -> None:
    deserted.hold("a", "b")
    deserted.kubectl("delete", "psch", "b", "--wait=false")
    before = deserted.finalizers()
    code, said = deserted.uninstall("--dry-run")
    assert (code, "would remove the finalizer of 2 PikoSchedules" in said) == (_DONE, True)
    assert (
        "1 of them is being deleted, and would end without its deletionPolicy; its row would stay: " in said
    )
    assert deserted.finalizers() == before
    deserted.take_lease(holder="operator-1", duration_s=3600)
    code, said = deserted.uninstall("--dry-run")
    assert (code, "is held by operator-1" in said) == (_LEFT, True)


def test_nothing_is_removed_while_an_operator_runs(deserted: Deserted) -> None:
    deserted.hold("a")
    deserted.take_lease(holder="operator-1", duration_s=3600)
    code, said = deserted.uninstall("--wait=1")
    assert code == _CANNOT
    assert f"kubectl -n {deserted.namespace} scale deployment operator --replicas=0" in said
    assert deserted.finalizers() == {"PikoSchedule a": [_OURS]}


def test_an_operator_that_stops_or_was_killed_is_waited_for(deserted: Deserted) -> None:
    deserted.hold("a")
    deserted.take_lease(holder="operator-1", duration_s=3600)
    waiting = deserted.start()
    waiting.wait_for_line("waiting for")
    deserted.take_lease(holder=None, duration_s=1)
    assert waiting.wait() == _DONE, waiting.tail()
    assert deserted.finalizers() == {"PikoSchedule a": []}
    deserted.hold("b")
    deserted.take_lease(holder="killed", duration_s=2)
    assert deserted.uninstall()[0] == _DONE
    assert deserted.finalizers() == {"PikoSchedule a": [], "PikoSchedule b": []}


def test_what_was_being_deleted_ends_and_is_named(deserted: Deserted) -> None:
    deserted.hold("a", "b")
    deserted.kubectl("delete", "psch", "b", "--wait=false")
    code, said = deserted.uninstall()
    assert code == _DONE
    assert "1 of them was being deleted and ended without its deletionPolicy; its row stays: " in said
    assert f"PikoSchedule {deserted.namespace}/b" in said
    assert deserted.finalizers() == {"PikoSchedule a": []}


def test_a_namespace_that_may_not_be_seen_is_named_and_stops_no_other(deserted: Deserted) -> None:
    deserted.hold("a")
    code, said = deserted.uninstall("--namespace=kube-public")
    assert (code, "not listed: 3: pikoschedules in namespace kube-public: " in said) == (_LEFT, True), said
    assert deserted.finalizers() == {"PikoSchedule a": []}


@pytest.mark.parametrize("option", ["--lease=piko", "--wait=-1", "--wait=nan", "--wait=soon"])
def test_an_option_that_is_wrong_is_refused_with_what_is_expected(
    piko_process: PikoProcessFactory, option: str
) -> None:
    process = piko_process("-m", "piko_operator.uninstall", "--lease=a/b", option)
    assert process.wait() == _CANNOT
    assert "expected" in process.output


class _Disturbed:
    """The API server, while something else happens before the first call of a method."""

    def __init__(self, api: KubernetesApi, method: str, happens: Iterator[None]) -> None:
        self._api = api
        self._method = method
        self._happens = happens

    async def call(self, method: str, path: str, **rest: Any) -> Any:
        if method == self._method:
            next(self._happens, None)
        return await self._api.call(method, path, **rest)


async def _uninstall(deserted: Deserted, method: str, happens: Iterator[None]) -> tuple[int, str]:
    configuration, kubeconfig = Configuration(), str(deserted.plane.admin_kubeconfig)
    await load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    said: list[str] = []
    async with ApiSession(configuration) as session:
        clock = SystemClock()
        api = _Disturbed(Cluster(session=session, clock=clock), method, happens)
        served = Served(namespaces=(deserted.namespace,), lease_namespace=deserted.namespace)
        code = await uninstall(api, served, clock=clock, wait_s=0, dry_run=False, say=said.append)
    return code, "\n".join(said)


async def test_finalizers_that_change_at_the_same_moment_are_looked_at_again(deserted: Deserted) -> None:
    deserted.hold("a", finalizers=[_OTHERS, _OURS])

    def another_is_removed() -> Iterator[None]:
        finalizers = json.dumps({"metadata": {"finalizers": [_OURS]}})
        deserted.kubectl("patch", "psch", "a", "--type=merge", "-p", finalizers)
        yield

    code, said = await _uninstall(deserted, "PATCH", another_is_removed())
    assert (code, deserted.finalizers()) == (_DONE, {"PikoSchedule a": []}), said


async def test_an_api_server_that_does_not_answer_for_a_moment_is_asked_again(deserted: Deserted) -> None:
    deserted.hold("a")

    def it_is_away() -> Iterator[None]:
        yield from ()
        raise ClusterError("away", status=0)

    code, said = await _uninstall(deserted, "GET", it_is_away())
    assert (code, deserted.finalizers()) == (_DONE, {"PikoSchedule a": []}), said


async def test_an_operator_that_is_started_meanwhile_is_noticed(deserted: Deserted) -> None:
    deserted.hold("a", served_by=f"{deserted.namespace}/{_LEASE}")

    def it_starts() -> Iterator[None]:
        deserted.take_lease(holder="operator-2", duration_s=3600)
        yield

    with pytest.raises(RefusedError, match="held by operator-2"):
        await _uninstall(deserted, "PATCH", it_starts())


async def test_rows_stay_as_they_are_and_a_real_operator_is_not_raced(
    world: World, piko_process: PikoProcessFactory
) -> None:
    operator = world.start(PIKO_OPERATOR_LEASE_NAME="operator")
    world.apply("PikoSchedule", "orders", jobId="orders", schedule={"cron": "@daily"})
    await world.until_condition("PikoSchedule", "orders", "Synced", reason="Synced")
    rows = "SELECT * FROM scheduled_job"
    before = [tuple(row) for row in await world.database.execute(rows)]

    def uninstalled(*arguments: str) -> tuple[int, str]:
        process = piko_process(
            *("-m", "piko_operator.uninstall", f"--lease={world.namespace}/{_LEASE}"),
            *(f"--namespace={world.namespace}", *arguments),
            env={"KUBECONFIG": str(world.control_plane.admin_kubeconfig)},
            name="uninstall",
        )
        return process.wait(), process.output

    code, said = uninstalled("--wait=3")
    assert (code, "an operator that would set the finalizers again" in said) == (_CANNOT, True), said
    assert world.read("psch", "orders")["metadata"]["finalizers"] == [_OURS]
    operator.kill()
    code, said = uninstalled()
    assert code == _DONE, said
    world.kubectl("delete", "psch", "orders", "--timeout=60s")
    assert [tuple(row) for row in await world.database.execute(rows)] == before
