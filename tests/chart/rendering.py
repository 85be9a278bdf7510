"""Renders the chart, and finds things in what came out."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tests.harness.locate import find_tool
from tests.harness.waiting import PATIENCE_S

ROOT = Path(__file__).parent.parent.parent
CHART = ROOT / "helm" / "piko"
RELEASE = "piko"
NAMESPACE = "data"

Values = Mapping[str, Any]

DSN = "mysql+asyncmy://piko:secret@database:3306/piko?charset=utf8mb4"
EXISTING_SECRET: Values = {"database": {"existingSecret": "piko-database"}}

COMPONENTS = ("runtime", "operator", "web")
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
_RESTRICTED: Values = {
    "image": "proxy:1",
    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
}
OPTIONS: Values = {
    "containerSecurityContext": {"runAsUser": 1000710000},
    "extraEnv": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    "extraVolumeMounts": [{"name": "data", "mountPath": "/data"}],
    "extraVolumes": [{"name": "data", "emptyDir": {}}],
    "hostAliases": [{"ip": "10.0.0.7", "hostnames": ["warehouse"]}],
    "initContainers": [{"name": "first", **_RESTRICTED}],
    "podSecurityContext": {"fsGroup": 2000},
    "priorityClassName": "system-cluster-critical",
    "probes": {"liveness": {"periodSeconds": 30}},
    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
    "sidecars": [{"name": "proxy", **_RESTRICTED}],
    "terminationGracePeriodSeconds": 90,
    "topologySpreadConstraints": [
        {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}
    ],
}
"""What every component takes."""

VARIANTS: dict[str, Values] = {
    "defaults": {"database": {"dsn": DSN}},
    "existing secret": EXISTING_SECRET,
    "tls to the database": {"database": {"existingSecret": "piko-database", "tlsSecret": "database-ca"}},
    "own migration secret": {**EXISTING_SECRET, "migration": {"existingSecret": "piko-owner"}},
    "namespaced operator": {**EXISTING_SECRET, "operator": {"namespaces": ["default", "kube-public"]}},
    "finalizers stay": {**EXISTING_SECRET, "operator": {"removeFinalizers": False}},
    "without admission": {**EXISTING_SECRET, "operator": {"admission": {"enabled": False}}},
    "operator reads secrets": {**EXISTING_SECRET, "operator": {"readSecrets": True}},
    "operator reads config maps": {**EXISTING_SECRET, "operator": {"readConfigMaps": True}},
    "alerts": {
        **EXISTING_SECRET,
        "prometheusRule": {"enabled": True, "labels": {"release": "p"}, "alertLabels": {"team": "data"}},
    },
    "dashboard": {
        **EXISTING_SECRET,
        "dashboard": {"enabled": True, "annotations": {"grafana_folder": "Data"}},
    },
    "pod monitor": {**EXISTING_SECRET, "podMonitor": {"enabled": True}},
    "spool on a volume for each replica": {
        **EXISTING_SECRET,
        "runtime": {"spool": {"persistence": {"enabled": True, "storageClass": "fast"}}},
    },
    "spool on a claim that exists": {
        **EXISTING_SECRET,
        "runtime": {"spool": {"persistence": {"enabled": True, "existingClaim": "spool"}}},
    },
    "webhook": {
        **EXISTING_SECRET,
        "runtime": {
            "webhook": {"existingSecret": "piko-webhook", "caSecretKey": "ca.crt", "retrySeconds": 1000000},
            "spool": {"persistence": {"enabled": True}},
        },
    },
    "network policies": {
        **EXISTING_SECRET,
        "networkPolicy": {
            "enabled": True,
            "databaseTo": [{"ipBlock": {"cidr": "10.0.0.7/32"}}],
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "jobsTo": [{"ports": [{"port": 443}]}],
        },
    },
    "a job to test with": {**EXISTING_SECRET, "test": {"job": "orders"}},
    "replicas by an autoscaler": {**EXISTING_SECRET, "runtime": {"replicas": None, "executor": "replicas"}},
    "every option of a pod": {
        **EXISTING_SECRET,
        "commonLabels": {"cost-centre": "7"},
        "commonAnnotations": {"owner": "data"},
        "service": {"annotations": {"mesh/port": "http"}},
        **dict.fromkeys(COMPONENTS, OPTIONS),
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "{{ .Release.Name }}-more"}},
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: text}",
        ],
    },
    "service monitor": {**EXISTING_SECRET, "serviceMonitor": {"enabled": True, "labels": {"release": "p"}}},
    "definitions that go": {**EXISTING_SECRET, "crds": {"keep": False}},
    "without definitions": {**EXISTING_SECRET, "crds": {"enabled": False}},
    "without disruption budget": {
        **EXISTING_SECRET,
        "runtime": {"podDisruptionBudget": {"enabled": False}},
        "operator": {"podDisruptionBudget": {"enabled": False}},
        "web": {"podDisruptionBudget": {"enabled": False}},
    },
    "without web": {**EXISTING_SECRET, "web": {"enabled": False}},
    "web by tokens, with its own user": {
        **EXISTING_SECRET,
        "web": {
            "access": "token",
            "tokensSecret": "piko-tokens",
            "sessionSecret": "piko-session",
            "existingSecret": "piko-reader",
        },
    },
    "web behind a proxy": {
        **EXISTING_SECRET,
        "web": {"access": "header", "operators": ["ann", "data"], "trustedProxies": ["10.0.0.0/8", "::1"]},
    },
    "web by rights of the cluster": {**EXISTING_SECRET, "web": {"access": "kubernetes"}},
    "without operator": {**EXISTING_SECRET, "operator": {"enabled": False}},
    "without migration": {**EXISTING_SECRET, "migration": {"enabled": False}},
    "placed and annotated": {
        **EXISTING_SECRET,
        "image": {"registry": "registry.example.com/data/", "pullPolicy": "Always"},
        "imagePullSecrets": ["registry"],
        "runtime": {
            "image": {"repository": "orders", "tag": "7"},
            "affinity": {"nodeAffinity": {}},
            "env": {"PIKO_MAX_CONCURRENT_RUNS": 1000000, "PIKO_DEBUG": True, "WAREHOUSE": "a: 'b'"},
            "envFrom": [{"secretRef": {"name": "warehouse"}}],
            "nodeSelector": {"disk": "ssd"},
            "podAnnotations": {"team": "data"},
            "podLabels": {"team": "data"},
            "serviceAccount": {"annotations": {"cloud/role": "orders"}},
            "tolerations": [{"key": "batch", "operator": "Exists"}],
        },
    },
}


@dataclass(frozen=True, slots=True)
class Rendering:
    """What Helm would send to the API server."""

    text: str
    objects: tuple[dict[str, Any], ...]

    def all(self, kind: str) -> list[dict[str, Any]]:
        return [item for item in self.objects if item["kind"] == kind]

    def one(self, kind: str, component: str | None = None) -> dict[str, Any]:
        found = [item for item in self.all(kind) if component in (None, component_of(item))]
        assert len(found) == 1, f"{len(found)} of kind {kind}, component {component}"
        return found[0]

    def pod_specs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The spec of each pod that would run, and what it belongs to."""
        for item in self.objects:
            if item["kind"] == "Pod":
                yield f"Pod {item['metadata']['name']}", item["spec"]
            elif "template" in item.get("spec", {}):
                yield f"{item['kind']} {item['metadata']['name']}", item["spec"]["template"]["spec"]


def component_of(item: Mapping[str, Any]) -> str | None:
    component: str | None = item["metadata"].get("labels", {}).get("app.kubernetes.io/component")
    return component


def environment_of(pod_spec: Mapping[str, Any]) -> dict[str, str]:
    """The literal variables of a pod's container, and `from secret` for the others."""
    variables = pod_spec["containers"][0]["env"]
    names = [variable["name"] for variable in variables]
    assert len(names) == len(set(names)), f"a variable is there twice: {names}"
    return {variable["name"]: variable.get("value", "from secret") for variable in variables}


def render(values: Values, *, namespace: str = NAMESPACE) -> Rendering:
    """The chart with `values`; raises `AssertionError` with what Helm said when it refuses."""
    outcome = _helm("template", RELEASE, str(CHART), f"--namespace={namespace}", values=values)
    assert outcome.returncode == 0, outcome.stderr
    return _parse(outcome.stdout)


def refusal(values: Values) -> str:
    """What Helm says against `values`."""
    outcome = _helm("template", RELEASE, str(CHART), values=values)
    assert outcome.returncode != 0, f"Helm accepts {values}"
    return outcome.stderr


def lint(values: Values) -> subprocess.CompletedProcess[str]:
    return _helm("lint", "--strict", str(CHART), values=values)


@cache
def _parse(text: str) -> Rendering:
    # The definitions make this slow enough to do it once for each text, and in C where PyYAML has it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return Rendering(text=text, objects=tuple(filter(None, yaml.load_all(text, Loader=loader))))


def _helm(*arguments: str, values: Values) -> subprocess.CompletedProcess[str]:
    return _run(arguments, json.dumps(values, sort_keys=True))


@cache
def _run(arguments: tuple[str, ...], values: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [find_tool("helm"), *arguments, "-f", "-"],
        input=values,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
