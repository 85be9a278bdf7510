"""Which namespace may claim which jobs, by table; and how tenants are read."""

from __future__ import annotations

from typing import Any

import pytest

from piko.errors import SettingsError
from piko_operator.manifests import parse_manifest
from piko_operator.settings import load_settings
from piko_operator.tenancy import Tenant, in_another_place, not_allowed, read_tenants, serves

_TENANTS = read_tenants(
    '[{"namespaces": ["orders", "orders-*"], "jobs": ["orders_*", "sync"], "adopt": ["orders_old"]},'
    ' {"namespaces": ["reports"], "jobs": ["*"], "groups": ["warehouse"]}]'
)
_DSN = {"PIKO_MYSQL_DSN": "mysql+asyncmy://user:s3cret@db/piko"}


def _refusal(namespace: str, **spec: Any) -> str | None:
    document = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoSchedule",
        "metadata": {"name": "a", "namespace": namespace},
        "spec": {"schedule": {"cron": "@daily"}, **spec},
    }
    return not_allowed(parse_manifest(document, "here"), _TENANTS)


@pytest.mark.parametrize(
    ("namespace", "spec"),
    [
        ("orders", {"jobId": "orders_a"}),
        ("orders-eu", {"jobId": "sync"}),
        ("orders", {"jobId": "orders_old", "adoptionPolicy": "Adopt"}),
        ("orders", {"jobId": "sync", "overlap": {"group": "orders_all"}}),
        ("reports", {"jobId": "anything", "overlap": {"group": "warehouse"}}),
    ],
)
def test_a_namespace_may_have_what_its_tenant_has(namespace: str, spec: dict[str, Any]) -> None:
    assert _refusal(namespace, **spec) is None


@pytest.mark.parametrize(
    ("namespace", "spec", "said"),
    [
        ("orders", {"jobId": "orders"}, "spec.jobId: 'orders': namespace orders may not claim this job"),
        ("orders", {"jobId": "Orders_a"}, "expected orders_*, sync"),
        ("orderseu", {"jobId": "sync"}, "expected none, because no tenant has this namespace"),
        ("orders", {"jobId": "sync", "adoptionPolicy": "Adopt"}, "spec.adoptionPolicy: 'Adopt'"),
        ("reports", {"jobId": "a", "adoptionPolicy": "Adopt"}, "spec.adoptionPolicy: 'Adopt'"),
        ("reports", {"jobId": "a", "overlap": {"group": "orders_all"}}, "spec.overlap.group: 'orders_all'"),
    ],
)
def test_anything_else_is_refused_with_what_would_be_allowed(
    namespace: str, spec: dict[str, Any], said: str
) -> None:
    refusal = _refusal(namespace, **spec)
    assert refusal is not None
    assert said in refusal
    assert "operator.tenants" in refusal


def test_a_refusal_names_nothing_of_another_tenant() -> None:
    refusal = _refusal("orders", jobId="anything", overlap={"group": "warehouse"})
    assert refusal is not None
    assert "reports" not in refusal
    assert "warehouse" not in refusal


def test_without_tenants_any_namespace_may_have_any_job() -> None:
    document = {
        "apiVersion": "piko.dev/v1",
        "kind": "PikoJobConfig",
        "metadata": {"name": "a"},
        "spec": {"jobId": "x", "adoptionPolicy": "Adopt"},
    }
    assert not_allowed(parse_manifest(document, "here"), ()) is None


@pytest.mark.parametrize(
    ("spec", "class_name", "served"),
    [
        ({}, None, True),
        ({"className": "blue"}, "blue", True),
        ({"className": "blue"}, None, False),
        ({}, "blue", False),
        ({"className": "green"}, "blue", False),
    ],
)
def test_an_operator_serves_its_own_class_alone(
    spec: dict[str, Any], class_name: str | None, served: bool
) -> None:
    assert serves(spec, class_name) is served


@pytest.mark.parametrize(
    ("owner", "other", "apart"),
    [
        ("c/a/x/1", "c/a/y/2", False),
        ("c/a/x/1", "c/b/y/2", True),
        ("c/a/x/1", "d/a/y/2", True),
        ("c/a/x/1", None, False),
    ],
)
def test_two_owners_are_apart_if_their_namespaces_are(owner: str, other: str | None, apart: bool) -> None:
    assert in_another_place(owner, other) is apart


def test_tenants_are_settings_as_json() -> None:
    text = '[{"namespaces": ["a"], "jobs": ["a_*"]}]'
    settings = load_settings(_DSN | {"PIKO_OPERATOR_TENANTS": text, "PIKO_OPERATOR_CLASS_NAME": ""})
    assert settings.tenants == (Tenant(namespaces=("a",), jobs=("a_*",)),)
    assert settings.class_name is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a_*", "expected a JSON list such as"),
        ("{}", "expected a JSON list such as"),
        ("[" * 5_000, "expected a JSON list such as"),
        ('["a"]', "tenants[0]: expected an object with namespaces and jobs"),
        ('[{"namespaces": ["a"]}]', "tenants[0]: expected an object with namespaces and jobs"),
        ('[{"namespaces": ["a"], "jobs": ["*_a"]}]', "tenants[0].jobs: expected a list"),
        ('[{"namespaces": "a", "jobs": ["a"]}]', "tenants[0].namespaces: expected a list"),
        ('[{"namespaces": ["a"], "jobs": [""]}]', "or the beginning of one and a *"),
        ('[{"namespaces": ["a"], "jobs": ["a"], "job": []}]', "tenants[0].job: unknown"),
    ],
)
def test_tenants_that_cannot_be_read_are_refused_at_the_start(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match="PIKO_OPERATOR_TENANTS") as caught:
        load_settings(_DSN | {"PIKO_OPERATOR_TENANTS": text})
    assert said in str(caught.value)


def test_a_class_that_no_resource_could_name_is_refused_at_the_start() -> None:
    with pytest.raises(SettingsError, match=r"PIKO_OPERATOR_CLASS_NAME = 'Blue': expected a name of a-z"):
        load_settings(_DSN | {"PIKO_OPERATOR_CLASS_NAME": "Blue"})
