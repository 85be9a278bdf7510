"""What the operator may do, asked of a real API server: the chart's rules and not one more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.rendering import EXISTING_SECRET, Values, render
from tests.harness.control_plane import ControlPlane
from tests.harness.waiting import wait_until

pytestmark = pytest.mark.usefixtures("helm")

Right = tuple[str, str, str]
"""API group, resource, verb."""

RESOURCES = ("pikoschedules", "pikojobconfigs", "pikobackfills")
IDENTITY: Right = ("", "namespaces ['kube-system']", "get")
EXPECTED: frozenset[Right] = frozenset(
    {
        IDENTITY,
        *(("piko.dev", name, verb) for name in RESOURCES for verb in ("get", "list", "watch", "patch")),
        *(("piko.dev", f"{name}/status", "patch") for name in RESOURCES),
        ("piko.dev", "pikobackfills", "delete"),
        *(("", "events", verb) for verb in ("create", "patch")),
    }
)
ADMISSION: frozenset[Right] = frozenset(
    ("", "secrets ['piko-operator-admission']", verb) for verb in ("get", "patch")
)
"""In the namespace of the release alone: the certificate of the webhook."""


def _trust(namespace: str) -> frozenset[Right]:
    """The right to name the authority of the webhook's certificate."""
    return frozenset(
        ("admissionregistration.k8s.io", f"{kind}webhookconfigurations ['{namespace}-piko-admission']", verb)
        for kind in ("validating", "mutating")
        for verb in ("get", "patch")
    )


LEASE: frozenset[Right] = frozenset(
    {
        *(("coordination.k8s.io", "leases ['piko-piko-operator']", verb) for verb in ("get", "update")),
        ("coordination.k8s.io", "leases", "create"),
    }
)
"""In the namespace of the release alone."""
SECRETS: frozenset[Right] = frozenset(("", "secrets", verb) for verb in ("get", "list", "watch"))
CONFIG_MAPS: frozenset[Right] = frozenset(("", "configmaps", verb) for verb in ("get", "list", "watch"))
_RBAC = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


class Installed:
    """The chart's accounts and roles in a namespace of the API server."""

    def __init__(self, control_plane: ControlPlane, namespace: str, values: Values) -> None:
        self._control_plane = control_plane
        objects = [item for item in render(values, namespace=namespace).objects if item["kind"] in _RBAC]
        self._manifest = yaml.safe_dump_all(objects)
        control_plane.kubectl("apply", "-f", "-", input=self._manifest)
        self._operator = control_plane.service_account_kubeconfig(namespace, "piko-operator")
        self._nobody = control_plane.service_account_kubeconfig(namespace, "nobody")

    def has_exactly(self, namespace: str, expected: frozenset[Right]) -> None:
        """Assert what the operator may do there beyond what every account may.

        The API server learns of a role a moment after it was written, so this waits for the rights and then
        compares all of them.
        """

        def found() -> set[Right] | None:
            rights = self._rules(self._operator, namespace) - self._rules(self._nobody, namespace)
            return rights if rights >= expected else None

        what = f"the operator to have at least {sorted(expected)} in {namespace}"
        assert wait_until(found, what=what) == expected

    def remove(self) -> None:
        self._control_plane.kubectl("delete", "--ignore-not-found", "-f", "-", input=self._manifest)

    def _rules(self, kubeconfig: Path, namespace: str) -> set[Right]:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace},
        }
        answer = self._control_plane.kubectl(
            "create",
            "--validate=false",
            "-f",
            "-",
            "-o",
            "json",
            kubeconfig=kubeconfig,
            input=json.dumps(review),
        )
        rules: list[dict[str, Any]] = json.loads(answer.stdout)["status"]["resourceRules"]
        return {
            (group, f"{resource}{_only(rule)}", verb)
            for rule in rules
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }


def _only(rule: dict[str, Any]) -> str:
    names = rule.get("resourceNames", [])
    return f" {names}" if names else ""


@pytest.fixture
def installed(
    request: pytest.FixtureRequest, control_plane: ControlPlane, namespace: str
) -> Iterator[Installed]:
    values = {**EXISTING_SECRET, "operator": request.param(namespace)}
    release = Installed(control_plane, namespace, values)
    yield release
    release.remove()


@pytest.mark.parametrize("installed", [lambda _: {}], indirect=True, ids=["cluster"])
def test_the_operator_of_a_cluster_may_do_exactly_this_everywhere(
    installed: Installed, namespace: str
) -> None:
    installed.has_exactly(namespace, EXPECTED | LEASE | ADMISSION | _trust(namespace))
    installed.has_exactly("default", EXPECTED | _trust(namespace))


@pytest.mark.parametrize("installed", [lambda name: {"namespaces": [name]}], indirect=True, ids=["namespace"])
def test_the_operator_of_a_namespace_may_do_nothing_in_others(installed: Installed, namespace: str) -> None:
    installed.has_exactly(namespace, EXPECTED | LEASE | ADMISSION | _trust(namespace))
    installed.has_exactly("default", frozenset({IDENTITY}) | _trust(namespace))


@pytest.mark.parametrize("installed", [lambda _: {"readSecrets": True}], indirect=True, ids=["secrets"])
def test_secrets_may_be_read_and_watched_when_allowed(installed: Installed, namespace: str) -> None:
    installed.has_exactly(namespace, EXPECTED | LEASE | ADMISSION | _trust(namespace) | SECRETS)


@pytest.mark.parametrize(
    "installed",
    [lambda name: {"readSecrets": True, "readConfigMaps": True, "namespaces": [name]}],
    indirect=True,
    ids=["secrets and config maps of a namespace"],
)
def test_secrets_and_config_maps_of_other_namespaces_are_out_of_reach(
    installed: Installed, namespace: str
) -> None:
    sources = SECRETS | CONFIG_MAPS
    installed.has_exactly(namespace, EXPECTED | LEASE | ADMISSION | _trust(namespace) | sources)
    installed.has_exactly("default", frozenset({IDENTITY}) | _trust(namespace))
