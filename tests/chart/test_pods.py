"""No pod of the chart has a privilege that it does not need, in any variant."""

from __future__ import annotations

import pytest

from tests.chart.rendering import EXISTING_SECRET, VARIANTS, render

pytestmark = pytest.mark.usefixtures("helm")

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}

# Whose users add containers and contexts of their own.
each_variant = pytest.mark.parametrize(
    "variant", [name for name in VARIANTS if name != "every option of a pod"]
)
GROUPS = {
    (variant, f"{kind} piko-runtime"): {"fsGroup": 10001, "fsGroupChangePolicy": "OnRootMismatch"}
    for variant, kind in (
        ("spool on a volume for each replica", "StatefulSet"),
        ("spool on a claim that exists", "Deployment"),
        ("webhook", "StatefulSet"),
    )
}
"""A volume belongs to root until its group is changed."""


@each_variant
def test_pods_are_not_root_and_confined(variant: str) -> None:
    for name, pod in render(VARIANTS[variant]).pod_specs():
        expected = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert pod["securityContext"] == expected | GROUPS.get((variant, name), {}), name
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & pod.keys(), name


@each_variant
def test_containers_write_to_tmp_and_the_spool_alone(variant: str) -> None:
    for name, pod in render(VARIANTS[variant]).pod_specs():
        assert {"name": "tmp", "emptyDir": {}} in pod["volumes"], name
        for container in pod["containers"]:
            assert container["securityContext"] == RESTRICTED, name
            writable = [mount for mount in container["volumeMounts"] if not mount.get("readOnly")]
            expected = [{"name": "tmp", "mountPath": "/tmp"}]
            if (variant, name) in GROUPS:
                expected.append({"name": "spool", "mountPath": "/var/lib/piko"})
            assert writable == expected, name


def test_certificates_of_the_database_lie_where_a_dsn_can_name_them_in_every_pod() -> None:
    for name, pod in render(VARIANTS["tls to the database"]).pod_specs():
        secrets = [each for each in pod["volumes"] if "secret" in each]
        if name in ("Pod piko-test-ready", "Job piko-remove-finalizers"):
            assert not secrets, "it needs no database"
            continue
        [volume] = [each for each in secrets if each["secret"]["secretName"] == "database-ca"]
        mount = {"name": volume["name"], "mountPath": "/etc/piko/tls", "readOnly": True}
        assert all(mount in container["volumeMounts"] for container in pod["containers"]), name
    assert "database-ca" not in render(VARIANTS["existing secret"]).text


@each_variant
def test_containers_ask_for_resources_and_bound_their_memory(variant: str) -> None:
    for name, pod in render(VARIANTS[variant]).pod_specs():
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name
            assert "memory" in container["resources"]["limits"], name


@each_variant
def test_only_who_speaks_to_kubernetes_gets_a_token(variant: str) -> None:
    rendering = render(VARIANTS[variant])
    holders = {name for name, pod in rendering.pod_specs() if pod["automountServiceAccountToken"]}
    hooks = {"Job piko-delete-psch-pjc-pbf-first", "Job piko-remove-finalizers"}
    reviews = {"Deployment piko-web"} if variant == "web by rights of the cluster" else set()
    runtime = {"Deployment piko-runtime", "StatefulSet piko-runtime"}
    assert holders <= {"Deployment piko-operator"} | hooks | runtime | reviews
    assert not any(account["automountServiceAccountToken"] for account in rendering.all("ServiceAccount"))


@each_variant
def test_pods_hear_nothing_of_other_services(variant: str) -> None:
    assert all(pod["enableServiceLinks"] is False for _, pod in render(VARIANTS[variant]).pod_specs())


@each_variant
def test_every_service_account_that_a_pod_names_is_made(variant: str) -> None:
    rendering = render(VARIANTS[variant])
    made = {account["metadata"]["name"] for account in rendering.all("ServiceAccount")}
    assert {pod["serviceAccountName"] for _, pod in rendering.pod_specs()} == made


def test_without_a_lease_only_the_operator_and_what_follows_it_speak_to_kubernetes() -> None:
    rendering = render({**EXISTING_SECRET, "runtime": {"leaderBackend": "database"}})
    bindings = [*rendering.all("RoleBinding"), *rendering.all("ClusterRoleBinding")]
    subjects = {subject["name"] for binding in bindings for subject in binding["subjects"]}
    assert subjects == {"piko-operator", "piko-uninstall"}
    holders = {name for name, pod in rendering.pod_specs() if pod["automountServiceAccountToken"]}
    assert holders == {"Deployment piko-operator", "Job piko-remove-finalizers"}
