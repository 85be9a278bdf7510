"""Two teams that share one operator: each with a namespace, a user of its own, and rights there alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.control_plane import ControlPlane

RULES: list[dict[str, Any]] = [
    {
        "apiGroups": ["piko.dev"],
        "resources": ["pikoschedules", "pikojobconfigs", "pikobackfills"],
        "verbs": ["*"],
    },
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]},
]
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """One tenant, as the user that it is for the API server."""

    control_plane: ControlPlane
    namespace: str
    kubeconfig: Path

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> tuple[int, str]:
        """Exit code and what was printed, on both channels."""
        outcome = self.control_plane.kubectl(
            "-n", self.namespace, *arguments, kubeconfig=self.kubeconfig, input=stdin, check=check
        )
        return outcome.returncode, outcome.stdout + outcome.stderr

    def apply(self, *manifests: dict[str, Any], check: bool = True) -> tuple[int, str]:
        items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
        return self.kubectl(
            "apply", "--server-side", "--validate=false", "-f", "-", stdin=json.dumps(items), check=check
        )


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "piko.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


@contextmanager
def team_of(control_plane: ControlPlane) -> Iterator[Team]:
    """A namespace, and a user who may do everything in it that a team needs, and nothing in others."""
    namespace = control_plane.create_namespace()
    try:
        kubeconfig = control_plane.service_account_kubeconfig(namespace, "team")
        bind(control_plane, "team", RULES, account=(namespace, "team"), namespaces=[namespace])
        yield Team(control_plane=control_plane, namespace=namespace, kubeconfig=kubeconfig)
    finally:
        control_plane.remove_namespace(namespace)


def bind(
    control_plane: ControlPlane,
    name: str,
    rules: list[dict[str, Any]],
    *,
    account: tuple[str, str],
    namespaces: list[str],
) -> None:
    """Give an account (namespace, name) `rules` in each of `namespaces`; in none of them: everywhere."""
    subject = {"kind": "ServiceAccount", "namespace": account[0], "name": account[1]}
    prefix, scopes = ("", namespaces) if namespaces else ("Cluster", [None])
    for scope in scopes:
        meta = {"name": name} | ({} if scope is None else {"namespace": scope})
        for body in (
            {"kind": f"{prefix}Role", "rules": rules},
            {
                "kind": f"{prefix}RoleBinding",
                "roleRef": {"apiGroup": _RBAC, "kind": f"{prefix}Role", "name": name},
                "subjects": [subject],
            },
        ):
            document = {"apiVersion": f"{_RBAC}/v1", "metadata": meta, **body}
            control_plane.kubectl("apply", "-f", "-", input=json.dumps(document))
        control_plane.until_may(
            user_of(account), *_question(rules[0]), namespace=account[0] if scope is None else scope
        )


def user_of(account: tuple[str, str]) -> str:
    """The user that a ServiceAccount (namespace, name) is for the API server."""
    return f"system:serviceaccount:{account[0]}:{account[1]}"


def _question(rule: dict[str, Any]) -> tuple[str, str]:
    """Verb and resource of one right that a rule gives."""
    resource, group = rule["resources"][0], rule["apiGroups"][0]
    name = "".join(f"/{name}" for name in rule.get("resourceNames", ())[:1])
    return rule["verbs"][0], f"{resource}{group and '.'}{group}{name}"


def unbind(control_plane: ControlPlane, name: str) -> None:
    """Take back what `bind` gave everywhere."""
    control_plane.kubectl("delete", "clusterrolebinding,clusterrole", name, "--ignore-not-found")
