"""Uninstalling, by Helm itself on an API server of its own.

That API server has no nodes and no controllers, so a test does what they would do for the Job of a hook: it
runs the Job's command as the Job's account, and writes down how that ended.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.chart.rendering import CHART, EXISTING_SECRET, NAMESPACE, RELEASE, ROOT
from tests.harness.control_plane import OwnControlPlane
from tests.harness.locate import find_tool
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENCE_S, wait_until

_CHECK = f"{RELEASE}-delete-psch-pjc-pbf-first"
_REMOVAL = f"{RELEASE}-remove-finalizers"
_OURS = "piko.dev/finalizer"
_DEFINITIONS = (
    "crd/pikoschedules.piko.dev",
    "crd/pikojobconfigs.piko.dev",
    "crd/pikobackfills.piko.dev",
)


pytestmark = pytest.mark.usefixtures("helm")


@pytest.fixture
def plane(own_control_plane: OwnControlPlane) -> OwnControlPlane:
    """An API server whose definitions no other test needs, with the namespace of the release."""
    own_control_plane.kubectl("create", "namespace", NAMESPACE)
    return own_control_plane


def _helm(
    plane: OwnControlPlane, *arguments: str, values: dict[str, Any] | None = None
) -> subprocess.CompletedProcess[str]:
    command = [
        str(find_tool("helm")),
        "--kubeconfig",
        str(plane.admin_kubeconfig),
        "-n",
        NAMESPACE,
        *arguments,
    ]
    given = [] if values is None else ["-f", "-"]
    return subprocess.run(
        [*command, *given],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


def _install(plane: OwnControlPlane, **values: Any) -> None:
    outcome = _helm(plane, "install", RELEASE, str(CHART), values={**EXISTING_SECRET, **values})
    assert outcome.returncode == 0, outcome.stderr
    plane.until_served(*_DEFINITIONS)


def _run_the_job(
    plane: OwnControlPlane, name: str, piko_process: PikoProcessFactory, options: Sequence[str]
) -> str:
    """Do what a node and the Job's controller do; what the command said, with `options` besides its own."""
    job = wait_until(lambda: _fresh_job(plane, name), what=f"the hook's Job {name}")
    pod = job["spec"]["template"]["spec"]
    kubeconfig = plane.service_account_kubeconfig(NAMESPACE, pod["serviceAccountName"])
    _, *arguments = pod["containers"][0]["command"]
    process = piko_process(*arguments, *options, env={"KUBECONFIG": str(kubeconfig)}, name=name)
    code = process.wait()
    now = "2026-01-01T00:00:00Z"
    outcome, before = ("Complete", "SuccessCriteriaMet") if code == 0 else ("Failed", "FailureTarget")
    condition = {
        "status": "True",
        "lastTransitionTime": now,
        "lastProbeTime": now,
        "reason": "x",
        "message": "x",
    }
    status = {
        "startTime": now,
        "conditions": [{**condition, "type": before}, {**condition, "type": outcome}],
        **({"completionTime": now, "succeeded": 1} if code == 0 else {"failed": 1}),
    }
    patch = json.dumps({"status": status})
    plane.kubectl("-n", NAMESPACE, "patch", "job", name, "--subresource=status", "--type=merge", "-p", patch)
    return process.tail()


def _fresh_job(plane: OwnControlPlane, name: str) -> dict[str, Any] | None:
    """The hook's Job; one that has failed stays until the next attempt."""
    job = _read(plane, "job", name)
    return None if job is None or job["status"].get("conditions") else job


def _read(plane: OwnControlPlane, kind: str, name: str) -> dict[str, Any] | None:
    shown = plane.kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json", check=False)
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def _uninstall(
    plane: OwnControlPlane, piko_process: PikoProcessFactory, *jobs: str, options: Sequence[str] = ()
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """How Helm ended, and what each Job of its hooks said."""
    with ThreadPoolExecutor(1) as pool:
        uninstalling = pool.submit(_helm, plane, "uninstall", RELEASE)
        said = [_run_the_job(plane, name, piko_process, options) for name in jobs]
        return uninstalling.result(), said


def _hold(plane: OwnControlPlane, namespace: str, name: str) -> None:
    """Create a resource that waits for the operator when it is deleted."""
    schedule = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoSchedule",
        "metadata": {"name": name, "finalizers": [_OURS]},
        "spec": {"jobId": name, "schedule": {"cron": "@daily"}},
    }
    plane.kubectl("-n", namespace, "apply", "-f", "-", input=json.dumps(schedule))


def _left_of_hooks(plane: OwnControlPlane) -> list[str]:
    kinds = "clusterrole,clusterrolebinding,role,rolebinding,serviceaccount,job"
    shown = plane.kubectl("get", kinds, "-A", "-l", f"app.kubernetes.io/instance={RELEASE}", "-o", "name")
    return shown.stdout.split()


def test_nothing_is_uninstalled_while_resources_are_left(
    plane: OwnControlPlane, piko_process: PikoProcessFactory
) -> None:
    _install(plane, crds={"keep": False})
    _hold(plane, "default", "left")

    outcome, [said] = _uninstall(plane, piko_process, _CHECK)
    assert outcome.returncode != 0
    assert _CHECK in outcome.stderr
    assert "resources remain, so nothing was uninstalled: PikoSchedule default/left. Delete" in said
    assert "kubectl delete psch,pjc,pbf --all --all-namespaces" in said
    for definition in _DEFINITIONS:
        assert plane.kubectl("get", definition, "-o", "jsonpath={.metadata.deletionTimestamp}").stdout == ""
    assert _read(plane, "deployment", f"{RELEASE}-operator") is not None, "it can still release them"

    without = '{"metadata":{"finalizers":null}}'
    plane.kubectl("-n", "default", "patch", "psch", "left", "--type=merge", "-p", without)
    plane.kubectl("-n", "default", "delete", "psch", "left")
    outcome, said_by_both = _uninstall(plane, piko_process, _CHECK, _REMOVAL)
    assert outcome.returncode == 0, outcome.stderr + "".join(said_by_both)
    wait_until(
        lambda: plane.kubectl("get", *_DEFINITIONS, check=False).returncode != 0,
        what="the definitions to be deleted",
    )
    assert _left_of_hooks(plane) == []


@pytest.mark.parametrize("namespaces", [[], ["default", NAMESPACE]], ids=["everywhere", "in two namespaces"])
def test_what_the_operator_held_can_be_deleted_without_it(
    plane: OwnControlPlane, piko_process: PikoProcessFactory, namespaces: list[str]
) -> None:
    _install(plane, operator={"namespaces": namespaces})
    for namespace in ("default", NAMESPACE, "kube-public"):
        _hold(plane, namespace, "orders")

    outcome, [said] = _uninstall(plane, piko_process, _REMOVAL)
    assert outcome.returncode == 0, outcome.stderr + said
    assert f"removed the finalizer of {2 if namespaces else 3} PikoSchedules" in said
    assert _left_of_hooks(plane) == []
    plane.kubectl("delete", "psch", "orders", "-n", "default", "--timeout=60s")
    plane.kubectl("delete", "psch", "orders", "-n", NAMESPACE, "--timeout=60s")
    others = plane.kubectl("get", "psch", "orders", "-n", "kube-public", "-o", "json").stdout
    assert json.loads(others)["metadata"].get("finalizers", []) == ([_OURS] if namespaces else [])


def test_finalizers_stay_where_the_hook_is_off(plane: OwnControlPlane) -> None:
    _install(plane, operator={"removeFinalizers": False})
    _hold(plane, "default", "orders")
    outcome = _helm(plane, "uninstall", RELEASE)
    assert outcome.returncode == 0, outcome.stderr
    held = json.loads(plane.kubectl("get", "psch", "orders", "-n", "default", "-o", "json").stdout)
    assert held["metadata"]["finalizers"] == [_OURS]


def test_an_operator_that_does_not_stop_is_said_and_the_release_is_uninstalled_all_the_same(
    plane: OwnControlPlane, piko_process: PikoProcessFactory
) -> None:
    _install(plane)
    _hold(plane, NAMESPACE, "orders")
    spec = {"holderIdentity": "operator-1", "leaseDurationSeconds": 3600}
    meta = {"name": f"piko-{RELEASE}-operator"}
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": meta, "spec": spec}
    plane.kubectl("-n", NAMESPACE, "create", "-f", "-", input=json.dumps(lease))
    outcome, [said] = _uninstall(plane, piko_process, _REMOVAL, options=["--wait=1"])
    assert outcome.returncode != 0
    assert _REMOVAL in outcome.stderr
    assert f"kubectl -n {NAMESPACE} scale deployment {RELEASE}-operator --replicas=0" in said
    assert _left_of_hooks(plane) == [f"job.batch/{_REMOVAL}"], "whose log says what is to be done"
    assert RELEASE not in _helm(plane, "list", "--short").stdout


def test_nothing_is_installed_into_a_definition_that_is_going(plane: OwnControlPlane) -> None:
    plane.install_crds(ROOT / "crds")
    kept = {"metadata": {"finalizers": ["example.com/keep"]}}
    plane.kubectl("patch", _DEFINITIONS[0], "--type=merge", "-p", json.dumps(kept))
    plane.kubectl("delete", _DEFINITIONS[0], "--wait=false")
    outcome = _helm(plane, "install", RELEASE, str(CHART), values={**EXISTING_SECRET})
    assert outcome.returncode != 0
    assert "the definition pikoschedules.piko.dev is being deleted" in outcome.stderr
    assert "take off the finalizer" in outcome.stderr
