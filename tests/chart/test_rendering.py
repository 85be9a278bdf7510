"""What the chart makes of its values."""

from __future__ import annotations

import base64
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml

from piko.settings import load_settings
from piko_operator.settings import load_settings as load_operator_settings
from tests.chart.rendering import (
    CHART,
    DSN,
    EXISTING_SECRET,
    ROOT,
    VARIANTS,
    Rendering,
    Values,
    component_of,
    environment_of,
    lint,
    render,
)

pytestmark = pytest.mark.usefixtures("helm")


@pytest.fixture
def rendering() -> Rendering:
    return render(EXISTING_SECRET)


def pod_of(rendering: Rendering, component: str) -> dict[str, Any]:
    [pod] = (
        item["spec"]["template"]["spec"]
        for item in rendering.objects
        if item["kind"] in ("Deployment", "StatefulSet", "Job") and component_of(item) == component
    )
    found: dict[str, Any] = pod
    return found


@pytest.mark.parametrize("values", [{}, *VARIANTS.values()], ids=["nothing set", *VARIANTS])
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    outcome = lint(values)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


@pytest.mark.parametrize("values", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_renders_without_blank_or_ragged_lines(values: dict[str, Any]) -> None:
    ragged = [line for line in render(values).text.splitlines() if line != line.rstrip() or not line]
    assert ragged == []


def test_chart_images_and_distribution_have_one_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert chart["version"] == chart["appVersion"] == project["version"]
    assert f"ARG VERSION={project['version']}\n" in dockerfile


def test_the_icon_of_the_chart_is_that_of_the_page() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    kind, _, data = chart["icon"].partition(";base64,")
    assert kind == "data:image/svg+xml"
    assert base64.b64decode(data) == files("piko.web").joinpath("static/piko.svg").read_bytes()


@pytest.mark.parametrize("definition", sorted((ROOT / "crds").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_chart_carries_the_same_definitions(definition: Path) -> None:
    copy = CHART / "files" / "crds" / definition.name
    assert copy.read_text(encoding="utf-8") == definition.read_text(encoding="utf-8"), "run `make generate`"


def test_rendered_definitions_are_those_of_crds_but_for_the_policy(rendering: Rendering) -> None:
    expected = {}
    for path in (ROOT / "crds").glob("*.yaml"):
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        definition["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
        expected[definition["metadata"]["name"]] = definition
    found = {item["metadata"]["name"]: item for item in rendering.all("CustomResourceDefinition")}
    assert found == expected


def test_definitions_go_with_the_release_only_when_asked_to() -> None:
    rendering = render({**EXISTING_SECRET, "crds": {"keep": False}})
    definitions = rendering.all("CustomResourceDefinition")
    assert definitions
    assert all("annotations" not in item["metadata"] for item in definitions)


@pytest.mark.parametrize(
    ("variant", "absent"),
    [
        ("without definitions", "CustomResourceDefinition"),
        ("without disruption budget", "PodDisruptionBudget"),
        ("without admission", "Secret"),
        ("without admission", "ValidatingWebhookConfiguration"),
        ("without admission", "MutatingWebhookConfiguration"),
        ("existing secret", "ServiceMonitor"),
        ("without operator", "ClusterRoleBinding"),
    ],
)
def test_what_is_off_is_not_rendered(variant: str, absent: str) -> None:
    assert render(VARIANTS[variant]).all(absent) == []


@pytest.mark.parametrize(
    ("variant", "absent"), [("without migration", "migration"), ("finalizers stay", "uninstall")]
)
def test_a_job_that_is_off_leaves_nothing(variant: str, absent: str) -> None:
    components = [component_of(item) for item in render(VARIANTS[variant]).objects]
    assert absent not in components
    assert absent in [component_of(item) for item in render(EXISTING_SECRET).objects]


def test_without_the_operator_people_have_no_rights_but_to_read_what_the_web_service_says() -> None:
    without_operator = VARIANTS["without operator"]
    (role,) = render(without_operator).all("ClusterRole")
    assert [rule["resources"] for rule in role["rules"]] == [["services/proxy"]]
    assert render({**without_operator, "web": {"enabled": False}}).all("ClusterRole") == []


def test_of_all_the_cluster_a_namespaced_operator_may_see_one_namespace() -> None:
    rendering = render(VARIANTS["namespaced operator"])
    (rule,) = rendering.one("ClusterRole", "operator")["rules"]
    assert (rule["resources"], rule["resourceNames"], rule["verbs"]) == (
        ["namespaces"], ["kube-system"], ["get"],
    )  # fmt: skip
    assert (
        rendering.one("ClusterRoleBinding", "operator")["roleRef"]["name"]
        == rendering.one("ClusterRole", "operator")["metadata"]["name"]
    )


@pytest.mark.parametrize("limit", [None, 0, 25])
def test_leave_for_rows_of_vanished_resources_is_a_value(limit: int | None) -> None:
    rendering = render({**EXISTING_SECRET, "operator": {"orphanLimit": limit}})
    (container,) = pod_of(rendering, "operator")["containers"]
    given = {item["name"]: item.get("value") for item in container["env"]}
    assert given.get("PIKO_OPERATOR_ORPHAN_LIMIT") == (None if limit is None else str(limit))


def test_without_the_operator_nothing_of_it_is_left() -> None:
    rendering = render(VARIANTS["without operator"])
    assert "operator" not in {component_of(item) for item in rendering.objects}
    assert "piko-operator" not in str([spec for _, spec in rendering.pod_specs()])


# ---- the database ---------------------------------------------------------------------------------


def test_a_given_dsn_becomes_a_secret_that_all_read() -> None:
    rendering = render(VARIANTS["defaults"])
    (secret,) = (item for item in rendering.all("Secret") if component_of(item) != "admission")
    assert secret["stringData"] == {"dsn": DSN}
    for component in ("runtime", "operator", "web", "migration"):
        assert _dsn_source(pod_of(rendering, component)) == {
            "name": secret["metadata"]["name"],
            "key": "dsn",
        }


def test_the_dsn_is_nowhere_but_in_the_secret() -> None:
    assert render(VARIANTS["defaults"]).text.count("secret@database") == 1


def test_a_new_dsn_replaces_the_pods() -> None:
    def checksum(dsn: str) -> str:
        template = render({"database": {"dsn": dsn}}).one("Deployment", "runtime")["spec"]["template"]
        return str(template["metadata"]["annotations"]["checksum/database"])

    assert checksum(DSN) != checksum(DSN.replace("secret", "other"))


def test_the_migration_may_have_a_user_of_its_own() -> None:
    rendering = render(VARIANTS["own migration secret"])
    assert _dsn_source(pod_of(rendering, "migration"))["name"] == "piko-owner"
    assert _dsn_source(pod_of(rendering, "runtime"))["name"] == "piko-database"


def _dsn_source(pod: dict[str, Any]) -> dict[str, str]:
    """The Secret and its key whose value is in the file that the container reads."""
    [container, *_] = pod["containers"]
    path = environment_of(pod)["PIKO_MYSQL_DSN"].removeprefix("file:")
    folder, _, file = path.rpartition("/")
    [mount] = [each for each in container["volumeMounts"] if each["mountPath"] == folder]
    [volume] = [each for each in pod["volumes"] if each["name"] == mount["name"]]
    [item] = [each for each in volume["secret"]["items"] if each["path"] == file]
    assert mount["readOnly"]
    assert "subPath" not in mount, "so that a Secret that changes is seen"
    return {"name": volume["secret"]["secretName"], "key": item["key"]}


# ---- the API and the page ----------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "without web"])
def test_web_accepts_its_environment(variant: str, tmp_path: Path) -> None:
    secrets = {"PIKO_MYSQL_DSN": DSN, "PIKO_WEB_SESSION_KEY": "k" * 32}
    environment = environment_of(pod_of(render(VARIANTS[variant]), "web"))
    environment |= {name: text for name, text in secrets.items() if name in environment}
    settings = load_settings(environment=environment, directory=tmp_path)
    assert (settings.web_host, settings.web_port, settings.log_format) == ("::", 8090, "json")


def test_nobody_acts_by_the_page_unless_a_value_says_who(rendering: Rendering) -> None:
    assert environment_of(pod_of(rendering, "web"))["PIKO_WEB_ACCESS"] == "read"
    assert pod_of(rendering, "web")["automountServiceAccountToken"] is False
    bindings = [*rendering.all("RoleBinding"), *rendering.all("ClusterRoleBinding")]
    assert "piko-web" not in {subject["name"] for binding in bindings for subject in binding["subjects"]}


def test_the_page_may_have_a_database_user_and_tokens_of_its_own() -> None:
    pod = pod_of(render(VARIANTS["web by tokens, with its own user"]), "web")
    assert _dsn_source(pod) == {"name": "piko-reader", "key": "dsn"}
    folder = environment_of(pod)["PIKO_WEB_TOKENS_DIR"]
    [mount] = [each for each in pod["containers"][0]["volumeMounts"] if each["mountPath"] == folder]
    [volume] = [each for each in pod["volumes"] if each["name"] == mount["name"]]
    assert (volume["secret"]["secretName"], mount["readOnly"]) == ("piko-tokens", True)


def test_cookies_outlive_a_pod_where_a_secret_seals_them() -> None:
    variables = pod_of(render(VARIANTS["web by tokens, with its own user"]), "web")["containers"][0]["env"]
    [sealing] = [each for each in variables if each["name"] == "PIKO_WEB_SESSION_KEY"]
    assert sealing["valueFrom"] == {"secretKeyRef": {"name": "piko-session", "key": "key"}}
    by_default = environment_of(pod_of(render(EXISTING_SECRET), "web"))
    assert "PIKO_WEB_SESSION_KEY" not in by_default


def test_all_that_read_or_write_configs_have_the_key_that_encrypts_them_and_nothing_else_has() -> None:
    rendering = render({**EXISTING_SECRET, "configKey": {"existingSecret": "piko-config-key"}})
    for component in ("operator", "runtime", "web"):
        variables = pod_of(rendering, component)["containers"][0]["env"]
        [key] = [each for each in variables if each["name"] == "PIKO_CONFIG_KEY"]
        assert key["valueFrom"] == {"secretKeyRef": {"name": "piko-config-key", "key": "key"}}
        by_default = environment_of(pod_of(render(EXISTING_SECRET), component))
        assert "PIKO_CONFIG_KEY" not in by_default
    assert "PIKO_CONFIG_KEY" not in str(rendering.all("Job"))


def test_web_gets_the_lists_of_a_proxy_as_settings(tmp_path: Path) -> None:
    environment = environment_of(pod_of(render(VARIANTS["web behind a proxy"]), "web"))
    settings = load_settings(environment=environment | {"PIKO_MYSQL_DSN": DSN}, directory=tmp_path)
    assert (settings.web_operators, settings.web_trusted_proxies) == ("ann,data", "10.0.0.0/8,::1")


def test_web_may_review_tokens_and_rights_only_where_they_decide() -> None:
    rendering = render(VARIANTS["web by rights of the cluster"])
    [binding] = [
        item
        for item in rendering.all("ClusterRoleBinding")
        if item["subjects"] == [{"kind": "ServiceAccount", "name": "piko-web", "namespace": "data"}]
    ]
    assert binding["roleRef"]["name"] == "system:auth-delegator"
    assert pod_of(rendering, "web")["automountServiceAccountToken"] is True


def test_without_web_nothing_of_it_is_left() -> None:
    rendering = render(VARIANTS["without web"])
    assert "web" not in {component_of(item) for item in rendering.objects}
    assert "piko-web" not in str([spec for _, spec in rendering.pod_specs()])


# ---- the migration --------------------------------------------------------------------------------


def test_the_migration_is_a_plain_job(rendering: Rendering) -> None:
    job = rendering.one("Job", "migration")
    assert "annotations" not in job["metadata"]
    assert pod_of(rendering, "migration")["containers"][0]["command"] == ["piko", "db", "upgrade"]


@pytest.mark.parametrize(
    "change",
    [
        {"runtime": {"image": {"tag": "next"}}},
        {"migration": {"backoffLimit": 3}},
        {"database": {"existingSecret": "another"}},
    ],
    ids=["image", "patience", "database"],
)
def test_a_migration_of_other_content_is_another_job(change: dict[str, Any]) -> None:
    assert _job_name({**EXISTING_SECRET, **change}) != _job_name(EXISTING_SECRET)


def test_the_migration_runs_again_for_nothing_else() -> None:
    assert _job_name({**EXISTING_SECRET, "runtime": {"replicas": 5}}) == _job_name(EXISTING_SECRET)


def test_a_long_name_leaves_room_for_the_hash() -> None:
    assert len(_job_name({**EXISTING_SECRET, "fullnameOverride": "a" * 63})) <= 63


def _job_name(values: Values) -> str:
    return str(render(values).one("Job", "migration")["metadata"]["name"])


# ---- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_runtime_accepts_its_environment(variant: str, tmp_path: Path) -> None:
    environment = environment_of(pod_of(render(VARIANTS[variant]), "runtime")) | {"PIKO_MYSQL_DSN": DSN}
    settings = load_settings(environment=environment, directory=tmp_path)
    assert (settings.http_host, settings.http_port, settings.log_format) == ("::", 8080, "json")


def test_the_operator_accepts_its_environment() -> None:
    environment = environment_of(pod_of(render(VARIANTS["namespaced operator"]), "operator"))
    settings = load_operator_settings(environment | {"PIKO_MYSQL_DSN": DSN})
    assert settings.namespaces == ("default", "kube-public")
    assert (settings.http_host, settings.http_port, settings.log_format) == ("::", 8081, "json")


def test_an_environment_of_ones_own_is_added_and_wins() -> None:
    values = {**EXISTING_SECRET, "runtime": {"env": {"PIKO_TIMEZONE": "Asia/Shanghai", "LIMIT": 1000000}}}
    environment = environment_of(pod_of(render(values), "runtime"))
    assert environment["PIKO_TIMEZONE"] == "Asia/Shanghai"
    assert environment["LIMIT"] == "1000000"


@pytest.mark.parametrize("drain", [0, 20, 3600])
def test_a_pod_lives_longer_than_its_drain(drain: int) -> None:
    pod = pod_of(render({**EXISTING_SECRET, "runtime": {"drainTimeoutSeconds": drain}}), "runtime")
    assert pod["terminationGracePeriodSeconds"] == drain + 20
    assert environment_of(pod)["PIKO_DRAIN_TIMEOUT_S"] == str(drain)


# ---- who finds whom -------------------------------------------------------------------------------


@pytest.mark.parametrize("component", ["runtime", "operator", "web"])
def test_a_service_finds_the_pods_of_its_component_alone(rendering: Rendering, component: str) -> None:
    selector = rendering.one("Service", component)["spec"]["selector"].items()
    found = [
        component_of(item["spec"]["template"])
        for item in (*rendering.all("Deployment"), *rendering.all("Job"))
        if selector <= item["spec"]["template"]["metadata"]["labels"].items()
    ]
    assert found == [component]


@pytest.mark.parametrize(
    ("component", "setting"),
    [
        ("runtime", "PIKO_HTTP_PORT"),
        ("operator", "PIKO_OPERATOR_HTTP_PORT"),
        ("web", "PIKO_WEB_PORT"),
    ],
)
def test_probes_ask_the_port_that_the_program_listens_on(
    rendering: Rendering, component: str, setting: str
) -> None:
    container = pod_of(rendering, component)["containers"][0]
    port = environment_of(pod_of(rendering, component))[setting]
    ports = {item["name"]: item["containerPort"] for item in container["ports"]}
    assert ports["http"] == int(port)
    for probe, path in (("startup", "/healthz"), ("liveness", "/healthz"), ("readiness", "/readyz")):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": "http"}


def test_the_monitor_finds_every_service() -> None:
    rendering = render(VARIANTS["service monitor"])
    monitor = rendering.one("ServiceMonitor")
    selector = monitor["spec"]["selector"]["matchLabels"].items()
    services = [item for item in rendering.all("Service") if selector <= item["metadata"]["labels"].items()]
    # The webhook's has no port of the monitor's name, so nothing is scraped there.
    services = [item for item in services if component_of(item) != "admission"]
    assert {component_of(item) for item in services} == {"runtime", "operator", "web"}
    ports = {port["name"] for item in services for port in item["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} == ports
    assert monitor["metadata"]["labels"]["release"] == "p"


def test_replicas_prefer_different_nodes_unless_placed(rendering: Rendering) -> None:
    [spread] = pod_of(rendering, "runtime")["topologySpreadConstraints"]
    assert spread["whenUnsatisfiable"] == "ScheduleAnyway"
    assert "topologySpreadConstraints" not in pod_of(render(VARIANTS["placed and annotated"]), "runtime")


def test_an_operator_is_replaced_only_when_the_next_one_is_ready() -> None:
    (spec,) = (
        item["spec"] for item in render(EXISTING_SECRET).all("Deployment") if component_of(item) == "operator"
    )
    assert spec["replicas"] == 2
    assert spec["strategy"] == {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_every_image_comes_from_the_registry_that_is_named() -> None:
    rendering = render(VARIANTS["placed and annotated"])
    images = {spec["containers"][0]["image"] for _, spec in rendering.pod_specs()}
    assert images == {"registry.example.com/data/orders:7", "registry.example.com/data/piko-operator:0.1.0"}
    assert all(spec["imagePullSecrets"] == [{"name": "registry"}] for _, spec in rendering.pod_specs())


def test_services_have_both_families_where_the_cluster_has() -> None:
    services = render(VARIANTS["existing secret"]).all("Service")
    assert len(services) == 4
    assert all(service["spec"]["ipFamilyPolicy"] == "PreferDualStack" for service in services)
