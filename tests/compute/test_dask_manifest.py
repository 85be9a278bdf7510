"""`examples/dask` on a real API server that serves the definitions of Dask's operator."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendering import ROOT
from tests.harness.control_plane import ControlPlane

_FOLDER = ROOT / "examples" / "dask"
_MANIFEST = _FOLDER / "cluster.yaml"
_STRICTLY = ("apply", "--server-side", "--validate=strict", "--dry-run=server")


def _cluster() -> dict[str, Any]:
    found: dict[str, Any] = next(yaml.safe_load_all(_MANIFEST.read_text(encoding="utf-8")))
    return found


@pytest.fixture(scope="module")
def dask(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> ControlPlane:
    """An API server that knows DaskCluster and DaskAutoscaler."""
    folder = tmp_path_factory.mktemp("definitions")
    for packed in (Path(__file__).parent / "dask_operator").glob("*.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    control_plane.install_crds(folder)
    return control_plane


def test_the_api_server_takes_the_manifest_and_knows_every_field(dask: ControlPlane, namespace: str) -> None:
    taken = dask.kubectl(*_STRICTLY, "-n", namespace, "-f", str(_MANIFEST)).stdout
    assert "daskcluster.kubernetes.dask.org/piko-dask" in taken
    assert "daskautoscaler.kubernetes.dask.org/piko-dask" in taken


def test_a_field_that_dask_does_not_know_would_be_refused(
    dask: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(_MANIFEST.read_text(encoding="utf-8").replace("maximum: 10", "maximum: 10\n  most: 11"))
    refused = dask.kubectl(*_STRICTLY, "-n", namespace, "-f", str(wrong), check=False)
    assert refused.returncode != 0
    assert "most" in refused.stderr


@pytest.mark.parametrize("part", ["scheduler", "worker"])
def test_its_pods_are_admitted_where_pods_are_restricted(
    part: str, dask: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    dask.kubectl("label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted")
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": part, "namespace": namespace},
        "spec": _cluster()["spec"][part]["spec"],
    }
    file = tmp_path / "pod.json"
    file.write_text(json.dumps(pod), encoding="utf-8")
    dask.kubectl(*_STRICTLY, "-f", str(file))


def test_replicas_ask_the_scheduler_of_that_cluster() -> None:
    values = yaml.safe_load((_FOLDER / "values.yaml").read_text(encoding="utf-8"))["runtime"]
    cluster = _cluster()
    [port] = [port for port in cluster["spec"]["scheduler"]["service"]["ports"] if port["name"] == "tcp-comm"]
    # The operator names the service of a scheduler so.
    address = f"tcp://{cluster['metadata']['name']}-scheduler:{port['port']}"
    assert values["env"] == {"PIKO_CPU_BACKEND": "dask", "PIKO_DASK_ADDRESS": address}
    [worker] = cluster["spec"]["worker"]["spec"]["containers"]
    assert worker["image"].endswith("/{repository}:{tag}".format(**values["image"])), "the same Piko and jobs"
