"""What an installation may change of the pods, the same for every component."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.rendering import (
    COMPONENTS,
    DIGEST,
    EXISTING_SECRET,
    VARIANTS,
    Rendering,
    Values,
    component_of,
    environment_of,
    refusal,
    render,
)

pytestmark = pytest.mark.usefixtures("helm")

each_component = pytest.mark.parametrize("component", COMPONENTS)


@pytest.fixture
def full() -> Rendering:
    return render(VARIANTS["every option of a pod"])


def pod_of(rendering: Rendering, component: str) -> dict[str, Any]:
    pod: dict[str, Any] = rendering.one("Deployment", component)["spec"]["template"]["spec"]
    return pod


@each_component
def test_contexts_are_laid_over_those_of_the_chart(full: Rendering, component: str) -> None:
    pod = pod_of(full, component)
    assert pod["securityContext"] == {
        "fsGroup": 2000,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"]["runAsUser"] == 1000710000
    assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True


@each_component
def test_containers_volumes_and_variables_are_added(full: Rendering, component: str) -> None:
    pod = pod_of(full, component)
    assert [container["name"] for container in pod["containers"]] == [component, "proxy"]
    assert [container["name"] for container in pod["initContainers"]] == ["first"]
    assert {"name": "data", "emptyDir": {}} in pod["volumes"]
    assert {"name": "data", "mountPath": "/data"} in pod["containers"][0]["volumeMounts"]
    assert pod["containers"][0]["env"][-1]["name"] == "NODE"
    assert pod["hostAliases"] == [{"ip": "10.0.0.7", "hostnames": ["warehouse"]}]


@each_component
def test_where_and_how_pods_run_is_the_users_to_say(full: Rendering, component: str) -> None:
    workload = full.one("Deployment", component)["spec"]
    pod = workload["template"]["spec"]
    assert workload["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["terminationGracePeriodSeconds"] == 90
    [spread] = pod["topologySpreadConstraints"]
    assert spread["topologyKey"] == "topology.kubernetes.io/zone"
    assert spread["labelSelector"]["matchLabels"] == workload["selector"]["matchLabels"]
    probe = pod["containers"][0]["livenessProbe"]
    assert (probe["periodSeconds"], probe["failureThreshold"]) == (30, 3)


def test_a_variable_of_ones_own_takes_the_place_of_the_charts() -> None:
    extra = [{"name": "PIKO_TIMEZONE", "valueFrom": {"configMapKeyRef": {"name": "zone", "key": "zone"}}}]
    pod = pod_of(render({**EXISTING_SECRET, "runtime": {"extraEnv": extra}}), "runtime")
    assert environment_of(pod)["PIKO_TIMEZONE"] == "from secret"


def test_common_labels_and_annotations_are_everywhere(full: Rendering) -> None:
    extra = {"piko-more", "text"}
    for item in full.objects:
        name = item["metadata"]["name"]
        if name in extra:
            continue
        assert item["metadata"]["labels"]["cost-centre"] == "7", name
        assert item["metadata"]["annotations"]["owner"] == "data", name
        if "template" in item.get("spec", {}):
            assert item["spec"]["template"]["metadata"]["labels"]["cost-centre"] == "7", name
    assert extra <= {item["metadata"]["name"] for item in full.all("ConfigMap")}


def test_common_labels_do_not_select(full: Rendering) -> None:
    for item in (*full.all("Deployment"), *full.all("PodDisruptionBudget")):
        assert "cost-centre" not in item["spec"]["selector"]["matchLabels"]
    assert all("cost-centre" not in item["spec"]["selector"] for item in full.all("Service"))
    assert all(item["metadata"]["annotations"]["mesh/port"] == "http" for item in full.all("Service"))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"digest": DIGEST}, f"piko-runtime@{DIGEST}"),
        ({"tag": "7", "digest": DIGEST}, f"piko-runtime:7@{DIGEST}"),
        ({"tag": "7"}, "piko-runtime:7"),
        ({}, "piko-runtime:0.1.0"),
    ],
    ids=["digest", "both", "tag", "neither"],
)
def test_an_image_is_named_by_tag_or_digest(image: dict[str, str], expected: str) -> None:
    rendering = render({**EXISTING_SECRET, "runtime": {"image": image}})
    assert pod_of(rendering, "runtime")["containers"][0]["image"] == expected
    assert pod_of(rendering, "web")["containers"][0]["image"] == expected


@each_component
def test_an_account_that_exists_gets_the_rights(component: str) -> None:
    given = {"serviceAccount": {"create": False, "name": "ours"}}
    rendering = render({**EXISTING_SECRET, component: given})
    assert pod_of(rendering, component)["serviceAccountName"] == "ours"
    assert component not in {component_of(item) for item in rendering.all("ServiceAccount")}
    subjects = {
        subject["name"]
        for binding in (*rendering.all("RoleBinding"), *rendering.all("ClusterRoleBinding"))
        if component_of(binding) == component
        for subject in binding["subjects"]
    }
    assert subjects == (set() if component == "web" else {"ours"})


def test_an_autoscaler_decides_where_no_number_is_given() -> None:
    assert (
        "replicas" not in render(VARIANTS["replicas by an autoscaler"]).one("Deployment", "runtime")["spec"]
    )


# ---- the spool ------------------------------------------------------------------------------------


def spool(**persistence: Any) -> Values:
    return {**EXISTING_SECRET, "runtime": {"spool": {"persistence": {"enabled": True, **persistence}}}}


def test_each_replica_gets_a_volume_for_its_spool() -> None:
    stateful = render(VARIANTS["spool on a volume for each replica"]).one("StatefulSet")
    [claim] = stateful["spec"]["volumeClaimTemplates"]
    pod = stateful["spec"]["template"]["spec"]
    [mount] = [
        each for each in pod["containers"][0]["volumeMounts"] if each["name"] == claim["metadata"]["name"]
    ]
    environment = environment_of(pod)
    assert environment["PIKO_SPOOL_DIR"].startswith(f"{mount['mountPath']}/")
    assert environment["PIKO_SPOOL_PERSISTENT"] == "true"
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert stateful["spec"]["persistentVolumeClaimRetentionPolicy"] == {
        "whenDeleted": "Retain",
        "whenScaled": "Retain",
    }


def test_no_class_is_the_clusters_default_class() -> None:
    [claim] = render(spool()).one("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert "storageClassName" not in claim["spec"]


def test_a_claim_that_exists_is_shared_by_a_deployment() -> None:
    pod = pod_of(render(VARIANTS["spool on a claim that exists"]), "runtime")
    [volume] = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
    assert volume["persistentVolumeClaim"] == {"claimName": "spool"}
    assert environment_of(pod)["PIKO_SPOOL_PERSISTENT"] == "true"


def test_the_group_of_the_volume_may_be_left_to_the_cluster() -> None:
    values = spool()
    values["runtime"]["podSecurityContext"] = {"fsGroup": None}
    context = render(values).one("StatefulSet")["spec"]["template"]["spec"]["securityContext"]
    assert "fsGroup" not in context
    assert context["runAsNonRoot"] is True


def test_without_a_volume_the_runtime_knows_that_its_spool_is_lost() -> None:
    assert environment_of(pod_of(render(EXISTING_SECRET), "runtime"))["PIKO_SPOOL_PERSISTENT"] == "false"
    assert "existingClaim is set and enabled is false" in refusal(spool(enabled=False, existingClaim="spool"))


# ---- network policies -----------------------------------------------------------------------------


def policy_of(component: str, values: Values = VARIANTS["network policies"]) -> dict[str, Any]:
    spec: dict[str, Any] = render(values).one("NetworkPolicy", component)["spec"]
    return spec


def ports_of(rules: list[dict[str, Any]]) -> set[int]:
    return {port["port"] for rule in rules for port in rule["ports"]}


def test_every_pod_of_the_release_is_under_a_policy() -> None:
    rendering = render(VARIANTS["network policies"])
    covered = {component_of(item) for item in rendering.all("NetworkPolicy")}
    assert covered == {"runtime", "operator", "web", "migration", "test"}
    for item in rendering.all("NetworkPolicy"):
        assert item["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert item["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component_of(item)


@pytest.mark.parametrize(
    ("component", "ports"), [("runtime", {8080}), ("operator", {8081, 9443}), ("web", {8090})]
)
def test_only_the_ports_of_the_program_are_reached(component: str, ports: set[int]) -> None:
    assert ports_of(policy_of(component)["ingress"]) == ports


def test_only_who_is_named_reaches_metrics() -> None:
    [rule] = policy_of("runtime")["ingress"]
    assert [list(peer) for peer in rule["from"]] == [["podSelector"], ["namespaceSelector"]]
    [rule] = policy_of("web")["ingress"]
    assert "from" not in rule, "nobody is named"


def test_what_a_pod_reaches_is_what_it_needs() -> None:
    assert ports_of(policy_of("runtime")["egress"]) == {53, 3306, 443, 6443}
    assert {"ports": [{"port": 443}]} in policy_of("runtime")["egress"], "what jobs reach"
    assert ports_of(policy_of("web")["egress"]) == {53, 3306}
    assert ports_of(policy_of("migration")["egress"]) == {53, 3306}
    assert policy_of("migration")["ingress"] == []
    [database] = [rule for rule in policy_of("operator")["egress"] if {"port": 3306} in rule["ports"]]
    assert database["to"] == [{"ipBlock": {"cidr": "10.0.0.7/32"}}]


def test_without_a_lease_the_runtime_does_not_reach_the_api_server() -> None:
    values = {**EXISTING_SECRET, "networkPolicy": {"enabled": True}, "runtime": {"leaderBackend": "database"}}
    assert ports_of(policy_of("runtime", values)["egress"]) == {53, 3306}


# ---- monitors and tests ---------------------------------------------------------------------------


def test_a_pod_monitor_finds_the_pods_that_have_metrics() -> None:
    rendering = render(VARIANTS["pod monitor"])
    spec = rendering.one("PodMonitor")["spec"]
    [expression] = spec["selector"]["matchExpressions"]
    assert set(expression["values"]) == set(COMPONENTS)
    for component in COMPONENTS:
        template = rendering.one("Deployment", component)["spec"]["template"]
        assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
        [endpoint] = spec["podMetricsEndpoints"]
        assert endpoint["port"] in {port["name"] for port in template["spec"]["containers"][0]["ports"]}


def test_helm_test_runs_the_job_that_is_named_and_waits_for_it() -> None:
    [pod] = [
        item
        for item in render(VARIANTS["a job to test with"]).all("Pod")
        if item["metadata"]["name"] == "piko-test-run"
    ]
    assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
    command = pod["spec"]["containers"][0]["command"]
    assert command == ["piko", "trigger", "orders", "--wait=120", "--reason=helm test"]
    assert len(render(EXISTING_SECRET).all("Pod")) == 1, "no job is named"


def test_the_webhook_comes_from_a_secret_alone_as_files() -> None:
    rendering = render(VARIANTS["webhook"])
    pod = rendering.one("StatefulSet", "runtime")["spec"]["template"]["spec"]
    environment = environment_of(pod)
    assert environment["PIKO_WEBHOOK_URL"] == "file:/etc/piko/webhook/url"
    assert environment["PIKO_WEBHOOK_KEY"] == "file:/etc/piko/webhook/key"
    assert environment["PIKO_WEBHOOK_CA"] == "/etc/piko/webhook/ca.crt"
    assert environment["PIKO_WEBHOOK_RETRY_S"] == "1000000"
    (volume,) = [volume for volume in pod["volumes"] if volume["name"] == "webhook"]
    assert volume["secret"]["secretName"] == "piko-webhook"
    assert {item["key"]: item["path"] for item in volume["secret"]["items"]} == {
        "url": "url",
        "key": "key",
        "ca.crt": "ca.crt",
    }
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounts["webhook"] == "/etc/piko/webhook"
    assert mounts["spool"] == "/var/lib/piko"


def test_histograms_are_by_job_or_for_all_jobs_as_the_values_say() -> None:
    pod = pod_of(render({**EXISTING_SECRET, "runtime": {"metricsPerJob": "summary"}}), "runtime")
    assert environment_of(pod)["PIKO_METRICS_PER_JOB"] == "summary"


def test_without_its_secret_there_is_no_webhook() -> None:
    pod = pod_of(render({**EXISTING_SECRET, "runtime": {"hookTimeoutSeconds": 2.5}}), "runtime")
    environment = environment_of(pod)
    assert environment["PIKO_HOOK_TIMEOUT_S"] == "2.5"
    assert not [name for name in environment if name.startswith("PIKO_WEBHOOK")]
    assert "webhook" not in [volume["name"] for volume in pod["volumes"]]
