"""Uninstalling with `crds.keep=false`, by Helm itself on an API server of its own.

That API server has no nodes and no controllers, so the test does what they would do for the hook's Job: it
runs the Job's command as the Job's account, and writes down how that ended.
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.chart.rendering import CHART, EXISTING_SECRET, NAMESPACE, RELEASE, ROOT
from tests.harness.control_plane import OwnControlPlane
from tests.harness.locate import find_tool
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENCE_S, wait_until

_JOB = f"{RELEASE}-delete-psch-pjc-pbf-first"
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


def _install(plane: OwnControlPlane) -> subprocess.CompletedProcess[str]:
    return _helm(plane, "install", RELEASE, str(CHART), values={**EXISTING_SECRET, "crds": {"keep": False}})


def _run_the_job(plane: OwnControlPlane, piko_process: PikoProcessFactory) -> str:
    """Do what a node and the Job's controller do; what the command said."""
    job = wait_until(lambda: _fresh_job(plane), what="the hook's Job")
    pod = job["spec"]["template"]["spec"]
    kubeconfig = plane.service_account_kubeconfig(NAMESPACE, pod["serviceAccountName"])
    _, *arguments = pod["containers"][0]["command"]
    process = piko_process(*arguments, env={"KUBECONFIG": str(kubeconfig)}, name="uninstall-check")
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
    plane.kubectl("-n", NAMESPACE, "patch", "job", _JOB, "--subresource=status", "--type=merge", "-p", patch)
    return process.tail()


def _fresh_job(plane: OwnControlPlane) -> dict[str, Any] | None:
    """The hook's Job; one that has failed stays until the next attempt."""
    job = _read(plane, "job", _JOB)
    return None if job is None or job["status"].get("conditions") else job


def _read(plane: OwnControlPlane, kind: str, name: str) -> dict[str, Any] | None:
    shown = plane.kubectl("-n", NAMESPACE, "get", kind, name, "-o", "json", check=False)
    return json.loads(shown.stdout) if shown.returncode == 0 else None


def _uninstall(
    plane: OwnControlPlane, piko_process: PikoProcessFactory
) -> tuple[subprocess.CompletedProcess[str], str]:
    """How Helm ended, and what the check said."""
    with ThreadPoolExecutor(1) as pool:
        uninstalling = pool.submit(_helm, plane, "uninstall", RELEASE)
        said = _run_the_job(plane, piko_process)
        return uninstalling.result(), said


def test_nothing_is_uninstalled_while_resources_are_left(
    plane: OwnControlPlane, piko_process: PikoProcessFactory
) -> None:
    installed = _install(plane)
    assert installed.returncode == 0, installed.stderr
    plane.until_served(*_DEFINITIONS)
    schedule = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoSchedule",
        "metadata": {"name": "left", "finalizers": ["piko.dev/finalizer"]},
        "spec": {"jobId": "a", "schedule": {"cron": "@daily"}},
    }
    plane.kubectl("-n", "default", "apply", "-f", "-", input=json.dumps(schedule))

    outcome, said = _uninstall(plane, piko_process)
    assert outcome.returncode != 0
    assert _JOB in outcome.stderr
    assert "resources remain, so nothing was uninstalled: PikoSchedule default/left. Delete" in said
    assert "kubectl delete psch,pjc,pbf --all --all-namespaces" in said
    for definition in _DEFINITIONS:
        assert plane.kubectl("get", definition, "-o", "jsonpath={.metadata.deletionTimestamp}").stdout == ""
    assert _read(plane, "deployment", f"{RELEASE}-operator") is not None, "it can still release them"

    without = '{"metadata":{"finalizers":null}}'
    plane.kubectl("-n", "default", "patch", "psch", "left", "--type=merge", "-p", without)
    plane.kubectl("-n", "default", "delete", "psch", "left")
    outcome, said = _uninstall(plane, piko_process)
    assert outcome.returncode == 0, outcome.stderr + said
    wait_until(
        lambda: plane.kubectl("get", *_DEFINITIONS, check=False).returncode != 0,
        what="the definitions to be deleted",
    )
    assert (
        "uninstall-check" not in plane.kubectl("get", "clusterrole,clusterrolebinding", "-o", "name").stdout
    )


def test_nothing_is_installed_into_a_definition_that_is_going(plane: OwnControlPlane) -> None:
    plane.install_crds(ROOT / "crds")
    kept = {"metadata": {"finalizers": ["example.com/keep"]}}
    plane.kubectl("patch", _DEFINITIONS[0], "--type=merge", "-p", json.dumps(kept))
    plane.kubectl("delete", _DEFINITIONS[0], "--wait=false")
    outcome = _install(plane)
    assert outcome.returncode != 0
    assert "the definition pikoschedules.piko.dev is being deleted" in outcome.stderr
    assert "take off the finalizer" in outcome.stderr
