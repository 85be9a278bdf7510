"""Several releases and several people in one cluster, on a real API server."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml

from tests.chart.rendering import CHART, EXISTING_SECRET, environment_of, refusal, render
from tests.harness.control_plane import ControlPlane
from tests.harness.locate import find_tool
from tests.harness.waiting import PATIENCE_S
from tests.operator.tenants import bind

pytestmark = pytest.mark.usefixtures("helm")


def _second(control_plane: ControlPlane, namespace: str, **operator: Any) -> subprocess.CompletedProcess[str]:
    """What Helm would do with a second release."""
    values = {**EXISTING_SECRET, "operator": operator, "crds": {"enabled": False}}
    command = ["--kubeconfig", str(control_plane.admin_kubeconfig), "-n", namespace]
    return subprocess.run(
        [find_tool("helm"), *command, "install", "--dry-run=server", "second", str(CHART), "-f", "-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.fixture
def first_release(control_plane: ControlPlane, namespace: str) -> str:
    """The roles of a release that serves one namespace, as Helm leaves them."""
    rendering = render({**EXISTING_SECRET, "operator": {"namespaces": [namespace]}}, namespace=namespace)
    roles = [item for item in rendering.all("Role") if "class" in item["metadata"]["name"]]
    for role in roles:
        role["metadata"]["annotations"] = {
            "meta.helm.sh/release-name": "first",
            "meta.helm.sh/release-namespace": namespace,
        }
    control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(roles))
    return namespace


def test_a_second_release_of_the_same_class_is_refused(
    control_plane: ControlPlane, first_release: str
) -> None:
    refused = _second(control_plane, first_release, namespaces=[first_release])
    assert refused.returncode != 0
    assert f"operator.className: the release {first_release}/first serves" in refused.stderr
    assert "set operator.className to a class of its own" in refused.stderr


def test_a_second_release_of_another_class_is_not(control_plane: ControlPlane, first_release: str) -> None:
    outcome = _second(control_plane, first_release, namespaces=[first_release], className="blue")
    assert outcome.returncode == 0, outcome.stderr


def test_class_and_tenants_reach_the_operator() -> None:
    tenants = [{"namespaces": ["orders-*"], "jobs": ["orders_*"], "adopt": ["orders_a"], "groups": []}]
    rendering = render({**EXISTING_SECRET, "operator": {"className": "blue", "tenants": tenants}})
    pod = rendering.one("Deployment", "operator")["spec"]["template"]["spec"]
    environment = environment_of(pod)
    assert environment["PIKO_OPERATOR_CLASS_NAME"] == "blue"
    assert json.loads(environment["PIKO_OPERATOR_TENANTS"]) == tenants


@pytest.mark.parametrize(
    "operator",
    [
        {"className": "Blue"},
        {"tenants": [{"namespaces": ["a"]}]},
        {"tenants": [{"namespaces": ["a"], "jobs": ["*_a"]}]},
        {"tenants": [{"namespaces": ["a"], "jobs": ["a"], "group": ["a"]}]},
    ],
    ids=json.dumps,
)
def test_a_class_or_a_tenant_that_the_operator_would_refuse_is_refused_by_the_chart(
    operator: dict[str, Any],
) -> None:
    assert "operator" in refusal({**EXISTING_SECRET, "operator": operator})


@pytest.fixture
def people(crds: ControlPlane, namespace: str) -> str:
    """The rules that the chart adds to the cluster's roles, bound to two people by themselves."""
    for item in render(EXISTING_SECRET).all("ClusterRole"):
        labels = item["metadata"]["labels"]
        who = {"true": "viewer"}.get(labels.get("rbac.authorization.k8s.io/aggregate-to-view", ""), "editor")
        if "rbac.authorization.k8s.io/aggregate-to-edit" in labels:
            crds.service_account_kubeconfig(namespace, who)
            name = f"piko-{who}-{namespace}"
            bind(crds, name, item["rules"], account=(namespace, who), namespaces=[namespace])
    return namespace


@pytest.mark.parametrize(
    ("who", "verb", "may"),
    [
        ("viewer", "get", True),
        ("viewer", "watch", True),
        ("viewer", "patch", False),
        ("viewer", "delete", False),
        ("editor", "create", True),
        ("editor", "patch", True),
        ("editor", "delete", True),
    ],
)
def test_people_may_do_with_pikos_kinds_what_they_may_do_with_others(
    crds: ControlPlane, people: str, who: str, verb: str, may: bool
) -> None:
    user = f"system:serviceaccount:{people}:{who}"
    for kind in ("pikoschedules.piko.dev", "pikojobconfigs.piko.dev", "pikobackfills.piko.dev"):
        answer = crds.kubectl("-n", people, "auth", "can-i", verb, kind, f"--as={user}", check=False)
        assert answer.stdout.strip() == ("yes" if may else "no")
    for service, reads in (("piko-web:http", True), ("another-web:http", False)):
        for verb_there, does in (("get", reads), ("create", False)):
            asked = (
                "auth",
                "can-i",
                verb_there,
                f"services/{service}",
                "--subresource=proxy",
                f"--as={user}",
            )
            proxied = crds.kubectl("-n", people, *asked, check=False)
            assert proxied.stdout.strip() == ("yes" if does and who == "viewer" else "no"), asked
    # What the operator reports, only the operator writes.
    status = crds.kubectl(
        "-n", people, "auth", "can-i", "patch", "pikoschedules.piko.dev", "--subresource=status",
        f"--as={user}", check=False,
    )  # fmt: skip
    assert status.stdout.strip() == "no"
