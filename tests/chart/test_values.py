"""Wrong values are refused before anything reaches the cluster, in words that name the value."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from docs.chart_values import table

from tests.chart.rendering import CHART, EXISTING_SECRET, refusal

pytestmark = pytest.mark.usefixtures("helm")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"runtme": {"replicas": 3}}, "additional properties 'runtme' not allowed"),
        ({"runtime": {"replica": 3}}, "additional properties 'replica' not allowed"),
        ({"runtime": {"replicas": "two"}}, "'/runtime/replicas': got string, want null or integer"),
        ({"runtime": {"replicas": -1}}, "'/runtime/replicas': minimum: got -1, want 0"),
        ({"runtime": {"args": []}}, "'/runtime/args': minItems: got 0, want 1"),
        ({"runtime": {"image": {"tag": "a:b"}}}, "'/runtime/image/tag': 'a:b' does not match pattern"),
        ({"runtime": {"image": {"tag": 1.10}}}, "'/runtime/image/tag': got number, want string"),
        ({"runtime": {"logFormat": "xml"}}, "'/runtime/logFormat': value must be one of 'json', 'text'"),
        ({"runtime": {"env": {"A": ["b"]}}}, "'/runtime/env/A': got array, want boolean or number or string"),
        ({"runtime": {"env": {"a-b": "c"}}}, "'a-b' does not match pattern"),
        ({"runtime": {"timezone": "not a zone"}}, "'/runtime/timezone': 'not a zone' does not match pattern"),
        (
            {"runtime": {"podDisruptionBudget": {"maxUnavailable": 0}}},
            "'/runtime/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1",
        ),
        ({"runtime": {"webhook": {"url": "https://a"}}}, "additional properties 'url' not allowed"),
        (
            {"runtime": {"webhook": {"timeoutSeconds": 0}}},
            "'/runtime/webhook/timeoutSeconds': exclusiveMinimum: got 0, want 0",
        ),
        ({"operator": {"namespaces": "data"}}, "'/operator/namespaces': got string, want array"),
        ({"operator": {"namespaces": ["Data"]}}, "'/operator/namespaces/0': 'Data' does not match pattern"),
        ({"operator": {"cluster": ""}}, "'/operator/cluster': '' does not match pattern"),
        ({"web": {"access": "all"}}, "'/web/access': value must be one of 'read', 'token', 'header'"),
        ({"web": {"access": "token"}}, "web.tokensSecret: web.access=token needs it"),
        ({"web": {"tokensSecret": "a"}}, "web.tokensSecret: is not used with web.access=read"),
        ({"web": {"operators": ["a,b"]}}, "'/web/operators/0': 'a,b' does not match pattern"),
        ({"web": {"trustedProxies": ["proxy"]}}, "'/web/trustedProxies/0': 'proxy' does not match pattern"),
        ({"image": {"pullPolicy": "Sometimes"}}, "value must be one of 'Always', 'IfNotPresent', 'Never'"),
        ({"serviceMonitor": {"interval": "often"}}, "'/serviceMonitor/interval': 'often' does not match"),
        (
            {"runtime": {"image": {"digest": "sha256:12"}}},
            "'/runtime/image/digest': 'sha256:12' does not match pattern",
        ),
        ({"runtime": {"sidecars": [{}]}}, "'/runtime/sidecars/0': missing property 'name'"),
        ({"web": {"extraVolumeMounts": [{"name": "a", "mountPath": "b"}]}}, "'b' does not match pattern"),
        ({"operator": {"probes": {"alive": {}}}}, "additional properties 'alive' not allowed"),
        (
            {"runtime": {"spool": {"persistence": {"size": "lots"}}}},
            "'/runtime/spool/persistence/size': 'lots' does not match pattern",
        ),
        ({"networkPolicy": {"databasePort": "mysql"}}, "got string, want integer"),
        ({"commonLabels": {"a": 1}}, "'/commonLabels/a': got number, want string"),
        ({"service": {"port": 0}}, "'/service/port': minimum: got 0, want 1"),
        ({"crds": {"enabled": "no"}}, "'/crds/enabled': got string, want boolean"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_wrong_value_is_named(values: dict[str, Any], expected: str) -> None:
    assert expected in refusal({**EXISTING_SECRET, **values})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            {"serviceMonitor": {"enabled": True}, "podMonitor": {"enabled": True}},
            "with both, every pod would be scraped twice; keep one",
        ),
        (
            {"runtime": {"drainTimeoutSeconds": 60, "terminationGracePeriodSeconds": 30}},
            "GracePeriodSeconds = 30 ends a pod before runtime.drainTimeoutSeconds = 60 is over",
        ),
        (
            {"runtime": {"spool": {"persistence": {"existingClaim": "spool"}}}},
            "runtime.spool.persistence: existingClaim is set and enabled is false",
        ),
        (
            {"operator": {"serviceAccount": {"create": False}}},
            "operator.serviceAccount.name: with create=false it names the account to use",
        ),
        (
            {"web": {"env": {"A": "b"}, "extraEnv": [{"name": "A"}]}},
            "web: A is in env and in extraEnv; keep one",
        ),
        (
            {"web": {"extraEnv": [{"name": "PIKO_MYSQL_DSN", "value": "hunter2"}]}},
            "web.extraEnv: PIKO_MYSQL_DSN is the chart's to set; set database.existingSecret",
        ),
        (
            {"operator": {"extraEnv": [{"name": "PIKO_CONFIG_KEY", "value": "hunter2"}]}},
            "operator.extraEnv: PIKO_CONFIG_KEY is the chart's to set; set configKey.existingSecret",
        ),
        (
            {"runtime": {"env": {"PIKO_CONFIG_KEY": "hunter2"}}},
            "runtime.env: PIKO_CONFIG_KEY is a secret and does not belong here; set configKey.existingSecret",
        ),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_values_that_contradict_each_other_are_refused(values: dict[str, Any], expected: str) -> None:
    assert expected in refusal({**EXISTING_SECRET, **values})


def test_a_missing_database_is_explained() -> None:
    said = refusal({})
    assert "database: none is named; set database.existingSecret to a Secret that holds the DSN" in said
    assert "or set database.dsn=mysql+asyncmy://user:password@host:3306/piko" in said


def test_two_databases_are_one_too_many() -> None:
    said = refusal({"database": {"existingSecret": "a", "dsn": "mysql+asyncmy://b"}})
    assert "database: both dsn and existingSecret are set; keep one" in said


def test_a_wrong_dsn_is_refused_without_being_shown() -> None:
    said = refusal({"database": {"dsn": "postgresql://piko:hunter2@db/piko"}})
    assert "database.dsn (not shown) must begin with mysql+asyncmy://" in said
    assert "hunter2" not in said


@pytest.mark.parametrize("component", ["runtime", "operator", "web"])
def test_the_dsn_does_not_belong_among_plain_variables(component: str) -> None:
    said = refusal({**EXISTING_SECRET, component: {"env": {"PIKO_MYSQL_DSN": "hunter2"}}})
    assert f"{component}.env: PIKO_MYSQL_DSN is a secret and does not belong here" in said
    assert "hunter2" not in said


def test_every_value_is_described() -> None:
    rows = list(table())
    assert [row for row in rows if row.endswith("|  |\n")] == []
    assert any("as `runtime.podSecurityContext`" in row for row in rows if row.startswith("| `web."))


def test_schema_and_values_name_the_same_things() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    for where, described, given in _objects(schema, schema, values, "values"):
        if ".probes." in where:  # fields over the chart's own, which stand in the template
            continue
        missing = {name for name in described - {"global", "claims"} if name not in given}
        assert not missing, f"{where}: in the schema only: {sorted(missing)}"


def _objects(
    root: dict[str, Any], schema: dict[str, Any], values: dict[str, Any], where: str
) -> list[tuple[str, set[str], set[str]]]:
    """Each object that the schema closes: its path, its properties there, and those of the values."""
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rsplit("/", 1)[1]]
    properties = schema.get("properties", {})
    found = [(where, set(properties), set(values))]
    for name, inner in properties.items():
        if isinstance(values.get(name), dict):
            found += _objects(root, inner, values[name], f"{where}.{name}")
    return found
