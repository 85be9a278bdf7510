"""`kubectl piko uninstall` on a real API server: whose finalizers it removes, by the person's rights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, Answer, kubectl_piko
from tests.harness.control_plane import ControlPlane
from tests.operator.tenants import bind

_OURS = "piko.dev/finalizer"
_LEASE = "piko-operator"
_RULES = [{"apiGroups": ["piko.dev"], "resources": ["pikoschedules"], "verbs": ["list"]}]

Asks = Callable[..., Answer]


@pytest.fixture
def asks(crds: ControlPlane, namespace: str, tmp_path: Path) -> Asks:
    """`kubectl piko ARGUMENTS… --in NAMESPACE`, by the administrator unless a kubeconfig is given."""

    def ask(*arguments: str, kubeconfig: Path = crds.admin_kubeconfig) -> Answer:
        return kubectl_piko(*arguments, "--in", namespace, cwd=tmp_path, kubeconfig=kubeconfig)

    return ask


def _hold(control_plane: ControlPlane, namespace: str, name: str, *, served_by: str) -> None:
    schedule = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoSchedule",
        "metadata": {"name": name, "finalizers": [_OURS]},
        "spec": {"jobId": name, "schedule": {"cron": "@daily"}},
    }
    control_plane.kubectl("-n", namespace, "create", "-f", "-", input=json.dumps(schedule))
    status = json.dumps({"status": {"servedBy": served_by}})
    patch = ("patch", "psch", name, "--subresource=status", "--type=merge", "-p", status)
    control_plane.kubectl("-n", namespace, *patch)


def _held(control_plane: ControlPlane, namespace: str) -> set[str]:
    items = json.loads(control_plane.kubectl("-n", namespace, "get", "psch", "-o", "json").stdout)["items"]
    return {item["metadata"]["name"] for item in items if item["metadata"].get("finalizers")}


def test_the_namespace_of_kubectl_is_that_of_the_operator(
    crds: ControlPlane, namespace: str, asks: Asks
) -> None:
    _hold(crds, namespace, "ours", served_by=f"{namespace}/{_LEASE}")
    _hold(crds, namespace, "theirs", served_by=f"other/{_LEASE}")
    answer = asks("-n", namespace, "uninstall", "--dry-run")
    assert (answer.code, "would remove the finalizer of 1 PikoSchedule," in answer.out) == (OK, True), answer
    assert _held(crds, namespace) == {"ours", "theirs"}
    answer = asks("uninstall", "-n", namespace)
    assert (answer.code, "removed the finalizer of 1 PikoSchedule," in answer.out) == (OK, True), answer
    assert "since 1 is served by other/piko-operator" in answer.out
    assert _held(crds, namespace) == {"theirs"}
    assert asks("uninstall", "-A").code == OK
    assert _held(crds, namespace) == set()


def test_an_operator_that_runs_is_found_by_what_it_has_served(
    crds: ControlPlane, namespace: str, asks: Asks
) -> None:
    _hold(crds, namespace, "ours", served_by=f"{namespace}/{_LEASE}")
    spec = {"holderIdentity": "operator-1", "leaseDurationSeconds": 3600}
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": _LEASE},
        "spec": spec,
    }
    crds.kubectl("-n", namespace, "create", "-f", "-", input=json.dumps(lease))
    answer = asks("uninstall", "-n", namespace, "--wait", "0")
    assert (answer.code, "scale deployment operator --replicas=0" in answer.err) == (CANNOT, True), answer
    assert _held(crds, namespace) == {"ours"}


def test_who_may_not_change_a_resource_hears_which_is_left(
    crds: ControlPlane, namespace: str, asks: Asks
) -> None:
    _hold(crds, namespace, "ours", served_by="")
    viewer = crds.service_account_kubeconfig(namespace, "viewer")
    bind(crds, "viewer", _RULES, account=(namespace, "viewer"), namespaces=[namespace])
    answer = asks("uninstall", "-n", namespace, kubeconfig=viewer)
    assert answer.code == NEEDS_ACTION, answer
    assert f"still held: 1: PikoSchedule {namespace}/ours: " in answer.out
    assert "not listed: 2: " in answer.out
    assert _held(crds, namespace) == {"ours"}


def test_options_that_name_a_release_or_a_pod_mean_nothing_to_it(asks: Asks) -> None:
    answer = asks("uninstall", "--release", "piko")
    assert (answer.code, "uninstall: takes no --release" in answer.err) == (CANNOT, True), answer
