"""What no object of the chart may have in any variant, whatever its component needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.chart.rendering import VARIANTS, Rendering, render

pytestmark = pytest.mark.usefixtures("helm")

each_variant = pytest.mark.parametrize("variant", VARIANTS)
# Who has these can give themselves any right.
CLIMBING = {"bind", "escalate", "impersonate"}


def rules_of(rendering: Rendering) -> Iterator[tuple[str, dict[str, Any]]]:
    for item in (*rendering.all("Role"), *rendering.all("ClusterRole")):
        for rule in item["rules"]:
            yield f"{item['kind']} {item['metadata']['name']}", rule


@each_variant
def test_no_rule_has_a_wildcard(variant: str) -> None:
    for name, rule in rules_of(render(VARIANTS[variant])):
        for field in ("apiGroups", "resources", "verbs", "nonResourceURLs"):
            assert not [value for value in rule.get(field, ()) if "*" in value], name


@each_variant
def test_nobody_can_give_themselves_rights(variant: str) -> None:
    rendering = render(VARIANTS[variant])
    for name, rule in rules_of(rendering):
        assert not CLIMBING & set(rule["verbs"]), name
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"], name
        assert not {"pods/exec", "nodes/proxy", "serviceaccounts/token"} & set(rule["resources"]), name
    given = {item["roleRef"]["name"] for item in rendering.all("ClusterRoleBinding")}
    assert not {"cluster-admin", "admin", "edit"} & given


@each_variant
def test_secrets_are_listed_only_by_a_value_and_written_only_where_the_rule_names_them(variant: str) -> None:
    values = VARIANTS[variant]
    # A watch, by which the operator hears of a changed Secret, needs the right to list.
    watches = {"list", "watch"} if values.get("operator", {}).get("readSecrets") else set()
    for name, rule in rules_of(render(values)):
        if "secrets" in rule["resources"]:
            may = {"get", "patch"} if rule.get("resourceNames") else {"get"} | watches
            assert set(rule["verbs"]) <= may, name


@each_variant
def test_no_object_is_outside_the_namespace_but_those_that_cannot_be_in_one(variant: str) -> None:
    webhooks = {"ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"}
    wide = {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", *webhooks}
    extra = {"piko-more", "text"}
    for item in render(VARIANTS[variant]).objects:
        if item["kind"] not in wide and item["metadata"]["name"] not in extra:
            assert "namespace" in item["metadata"], item["metadata"]["name"]


@each_variant
def test_no_pod_opens_a_port_of_its_node_or_mounts_its_files(variant: str) -> None:
    for name, pod in render(VARIANTS[variant]).pod_specs():
        assert not [volume for volume in pod["volumes"] if "hostPath" in volume], name
        ports = [port for container in pod["containers"] for port in container.get("ports", ())]
        assert not [port for port in ports if "hostPort" in port], name
