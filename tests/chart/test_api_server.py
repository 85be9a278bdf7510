"""A real API server takes all that the chart renders, without a warning."""

from __future__ import annotations

import pytest

from tests.chart.rendering import ROOT, VARIANTS, render
from tests.harness import gobuild, versions
from tests.harness.control_plane import ControlPlane
from tests.harness.locate import MissingToolError

pytestmark = pytest.mark.usefixtures("helm")

_MONITORS = [
    f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml"
    for kind in ("servicemonitors", "podmonitors", "prometheusrules")
]


@pytest.fixture(scope="module")
def monitors(control_plane: ControlPlane) -> None:
    """The API server knows what the chart asks of the Prometheus operator, as that defines it.

    The definitions stay: other processes of this run may be in the middle of such a test.
    """
    try:
        module = gobuild.source_folder(
            "github.com/prometheus-operator/prometheus-operator", versions.PROMETHEUS_OPERATOR, say=print
        )
    except MissingToolError as error:
        pytest.skip(str(error))
    files = [argument for path in _MONITORS for argument in ("-f", str(module / path))]
    control_plane.kubectl("apply", "--server-side", *files)
    control_plane.until_served(*files)


@pytest.fixture
def restricted_namespace(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace that warns of every pod template, and refuses every pod, that is not `restricted`."""
    control_plane.kubectl(
        "label",
        "namespace",
        namespace,
        *(f"pod-security.kubernetes.io/{mode}=restricted" for mode in ("enforce", "warn")),
    )
    return namespace


@pytest.mark.usefixtures("monitors")
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_dry_run_of_the_server_takes_it(
    control_plane: ControlPlane, restricted_namespace: str, variant: str
) -> None:
    rendering = render(VARIANTS[variant], namespace=restricted_namespace)
    outcome = control_plane.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        input=rendering.text,
    )
    assert outcome.stderr == ""
    assert outcome.stdout.count("(server dry run)") == len(rendering.objects)


@pytest.mark.parametrize("name", ["database.yaml", "schedule.yaml"])
def test_the_manifests_of_the_cluster_example_are_taken(
    crds: ControlPlane, restricted_namespace: str, name: str
) -> None:
    path = ROOT / "examples" / "cluster" / name
    outcome = crds.kubectl("-n", restricted_namespace, "apply", "--dry-run=server", "-f", str(path))
    assert outcome.stderr == ""
