"""Definitions of the kinds follow the release, by Helm itself on an API server of its own.

What lies in a chart's folder crds/ would stay as it was first installed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.rendering import CHART, EXISTING_SECRET, NAMESPACE, RELEASE
from tests.harness.control_plane import OwnControlPlane
from tests.harness.locate import find_tool
from tests.harness.waiting import PATIENCE_S, wait_until

pytestmark = pytest.mark.usefixtures("helm")

_DEFINITION = "pikoschedules.piko.dev"
_SCHEDULE = {
    "apiVersion": "piko.dev/v1",
    "kind": "PikoSchedule",
    "metadata": {"name": "a"},
    "spec": {"jobId": "a", "schedule": {"cron": "@daily"}, "objective": {"dataWithin": "1h"}},
}


@pytest.fixture
def plane(own_control_plane: OwnControlPlane) -> OwnControlPlane:
    own_control_plane.kubectl("create", "namespace", NAMESPACE)
    return own_control_plane


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The chart of a release that did not know `spec.objective` yet."""
    chart = tmp_path / "piko"
    shutil.copytree(CHART, chart)
    path = chart / "files" / "crds" / "piko.dev_pikoschedules.yaml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    for version in definition["spec"]["versions"]:
        del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["objective"]
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    return chart


def helm(plane: OwnControlPlane, *arguments: str) -> None:
    outcome = subprocess.run(
        [str(find_tool("helm")), f"--kubeconfig={plane.admin_kubeconfig}", f"-n={NAMESPACE}", *arguments],
        input=json.dumps(EXISTING_SECRET),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert outcome.returncode == 0, outcome.stderr


def taken(plane: OwnControlPlane) -> bool:
    """Whether the server knows every field of the resource."""
    outcome = plane.kubectl(
        "-n", NAMESPACE, "apply", "--validate=strict", "--dry-run=server", "-f", "-",
        input=json.dumps(_SCHEDULE), check=False,
    )  # fmt: skip
    known = outcome.returncode == 0
    assert known or 'unknown field "spec.objective"' in outcome.stderr, outcome.stderr
    return known


def test_an_upgrade_and_a_rollback_take_the_definitions_along(plane: OwnControlPlane, earlier: Path) -> None:
    helm(plane, "install", RELEASE, str(earlier), "--values=-")
    plane.until_served(f"crd/{_DEFINITION}", f"crd/{_DEFINITION.replace('schedules', 'jobconfigs')}")
    assert not taken(plane)

    helm(plane, "upgrade", RELEASE, str(CHART), "--values=-")
    wait_until(lambda: taken(plane), what="the new field to be known")
    plane.kubectl("-n", NAMESPACE, "apply", "-f", "-", input=json.dumps(_SCHEDULE))

    helm(plane, "rollback", RELEASE, "1")
    wait_until(lambda: not taken(plane), what="the new field to be unknown again")
    kept = plane.kubectl("-n", NAMESPACE, "get", "psch", "a", "-o", "jsonpath={.spec.jobId}").stdout
    assert kept == "a", "a resource outlives the change of its definition"
