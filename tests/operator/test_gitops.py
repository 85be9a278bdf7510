"""What GitOps tools and `kubectl wait` conclude of resources, each by its own code, on a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from piko_operator.resources import MODELS
from tests.harness.control_plane import ControlPlane
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.gitops import Conclusions, conclude
from tests.harness.locate import find_tool
from tests.harness.processes import ChildProcess
from tests.harness.reaper import Reaper
from tests.harness.waiting import PATIENTLY, wait_until_async
from tests.operator.conftest import World, create_tables
from tests.operator.gitops_states import State, states
from tests.serving.sockets import answer_of

_GITOPS = Path(__file__).parents[2] / "helm/piko/gitops"
_PATCH = _GITOPS / "argocd-cm.yaml"
_KEY = "resource.customizations.health.piko.dev_"
_STATES = states()
_SPECS: dict[str, dict[str, Any]] = {
    "PikoSchedule": {"schedule": {"cron": "@daily"}},
    "PikoJobConfig": {},
    "PikoBackfill": {"from": "2025-12-29T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
}
_ARGO = {"Current": "Healthy", "InProgress": "Progressing", "Failed": "Degraded"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A resource in a state, as the API server shows it, and what is concluded of it."""

    namespace: str
    body: Mapping[str, Any]
    conclusions: Conclusions


def _scripts() -> dict[str, str]:
    data = yaml.safe_load(_PATCH.read_text(encoding="utf-8"))["data"]
    return {name.removeprefix(_KEY): script for name, script in data.items()}


def _expressions() -> list[dict[str, str]]:
    document = yaml.safe_load((_GITOPS / "flux-kustomization.yaml").read_text(encoding="utf-8"))
    return list(document["spec"]["healthCheckExprs"])


def _manifest(state: State) -> dict[str, Any]:
    return {
        "apiVersion": "piko.dev/v1",
        "kind": state.kind,
        "metadata": {"name": state.name, "finalizers": ["piko.dev/finalizer"]},
        "spec": {"jobId": state.name, **_SPECS[state.kind]},
    }


def _list(items: list[dict[str, Any]]) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


@pytest.fixture(scope="module")
def shown(crds: ControlPlane) -> Iterator[dict[str, _Shown]]:
    """A resource in each state, with the status that the operator would write."""
    namespace = crds.create_namespace()

    def kubectl(*arguments: str, **how: Any) -> str:
        return crds.kubectl("-n", namespace, *arguments, **how).stdout

    kubectl("create", "-f", "-", input=_list([_manifest(state) for state in _STATES]))
    with_status = [{**_manifest(state), "status": state.status} for state in _STATES if state.status]
    kubectl("replace", "--subresource=status", "-f", "-", input=_list(with_status))
    for state in _STATES:
        if state.edited:
            later = '{"spec": {"driftPolicy": "Observe"}}'
            kubectl("patch", state.kind, state.name, "--type=merge", "-p", later)
        if state.deleted:
            kubectl("delete", state.kind, state.name, "--wait=false")
    bodies = {
        body["metadata"]["name"]: body
        for body in json.loads(kubectl("get", "psch,pjc,pbf", "-o", "json"))["items"]
    }
    found = conclude(
        [bodies[state.name] for state in _STATES], scripts=_scripts(), expressions=_expressions()
    )
    yield {
        state.name: _Shown(namespace=namespace, body=bodies[state.name], conclusions=conclusions)
        for state, conclusions in zip(_STATES, found, strict=True)
    }
    crds.remove_namespace(namespace)


each_state = pytest.mark.parametrize("state", _STATES, ids=[state.name for state in _STATES])


@each_state
def test_kstatus_tells_what_is_settled_what_goes_on_and_what_failed(
    shown: dict[str, _Shown], state: State
) -> None:
    assert shown[state.name].conclusions.kstatus == state.kstatus


@each_state
def test_argo_cd_tells_the_same_and_says_why(shown: dict[str, _Shown], state: State) -> None:
    if state.deleted:
        return  # Argo CD asks no script about what is being deleted
    argo = shown[state.name].conclusions.argo
    assert argo is not None
    health, message = argo
    assert health == _ARGO[state.kstatus]
    assert message


@each_state
def test_the_expressions_for_flux_wait_for_more_and_fail_for_the_same(
    shown: dict[str, _Shown], state: State
) -> None:
    if state.deleted or state.kind == "PikoBackfill":
        return  # Flux evaluates no expression for what it prunes, and has none for backfills
    assert shown[state.name].conclusions.flux == (state.flux or state.kstatus)


@each_state
def test_kubectl_wait_for_ready_ends_for_what_is_settled_and_for_nothing_else(
    crds: ControlPlane, shown: dict[str, _Shown], state: State
) -> None:
    once = ("wait", "--for=condition=Ready", "--timeout=0s", state.kind, state.name)
    outcome = crds.kubectl("-n", shown[state.name].namespace, *once, check=False)
    assert (outcome.returncode == 0) is state.is_ready, outcome.stdout + outcome.stderr


@each_state
def test_every_kind_has_ready_once_somebody_has_looked_and_of_trouble_only_what_there_is(
    shown: dict[str, _Shown], state: State
) -> None:
    status = shown[state.name].body["status"]
    if state.status is None:
        assert status == {"observedGeneration": -1}
        return
    conditions = {item["type"]: item["status"] for item in status["conditions"]}
    assert {"Ready", "Synced"} <= set(conditions)
    trouble = ("Stalled", "Reconciling", "Drifted", "DataGivenUp")
    assert "False" not in {conditions.get(kind) for kind in trouble}
    assert ("Stalled" in conditions or "Reconciling" in conditions) is (conditions["Ready"] != "True")


def test_argo_cds_patch_leaves_other_health_checks_as_they_are(
    control_plane: ControlPlane, namespace: str
) -> None:
    def kubectl(*arguments: str) -> str:
        return control_plane.kubectl("-n", namespace, *arguments).stdout

    other = "resource.customizations.health.example.com_Other"
    kubectl("create", "configmap", "argocd-cm", f"--from-literal={other}=return {{}}")
    kubectl("patch", "configmap", "argocd-cm", "--type=merge", f"--patch-file={_PATCH}")
    data = json.loads(kubectl("get", "configmap", "argocd-cm", "-o", "json"))["data"]
    assert data == {other: "return {}"} | {f"{_KEY}{kind}": script for kind, script in _scripts().items()}
    assert set(_scripts()) == set(MODELS)
    assert len(set(_scripts().values())) == 1


async def test_what_is_not_allowed_or_served_by_nobody_says_so_in_argo_cd(world: World) -> None:
    tenants = [{"namespaces": [world.namespace], "jobs": ["mine"]}]
    world.start(PIKO_OPERATOR_TENANTS=json.dumps(tenants))
    world.apply("PikoSchedule", "theirs", jobId="theirs", schedule={"cron": "@daily"})
    world.apply("PikoSchedule", "blue", jobId="mine", schedule={"cron": "@daily"}, className="blue")
    world.apply("PikoSchedule", "mine", jobId="mine", schedule={"cron": "@daily"})
    await world.until_condition("psch", "theirs", "Synced", reason="NotAllowed")
    await world.until_condition("psch", "mine", "Synced", reason="Synced")
    theirs, blue = (
        conclude([world.read("psch", name)], scripts=_scripts())[0] for name in ("theirs", "blue")
    )
    assert (theirs.kstatus, blue.kstatus) == ("Failed", "InProgress")
    assert theirs.argo is not None
    health, message = theirs.argo
    assert health == "Degraded"
    assert message.startswith("NotAllowed: spec.jobId: 'theirs': namespace ")
    assert blue.argo == (
        "Progressing",
        "no operator that serves resources with className blue has looked at this yet",
    )


async def test_an_outage_of_the_database_fails_nothing_and_ends_in_ready(
    own_mariadb: DatabaseServer,
    make_world: Callable[[TestDatabase], World],
    reaper: Reaper,
    tmp_path: Path,
) -> None:
    world = make_world(await create_tables(await own_mariadb.create_database()))
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"}, suspend=True)
    world.apply("PikoJobConfig", "c", jobId="job", config={"a": 1})
    await world.until_condition("psch", "s", "Ready", reason="Pending")
    await world.until_condition("pjc", "c", "Ready", reason="Pending")
    await _look(world, version=1)
    world.kubectl("wait", "--for=condition=Ready", "psch/s", "pjc/c", PATIENTLY)
    world.apply("PikoSchedule", "idle", jobId="idle", schedule={"cron": "@hourly"}, suspend=True)
    await world.until_condition("psch", "idle", "Ready", reason="Pending")
    watches = [_watch(world, kind, tmp_path / kind, reaper) for kind in ("psch", "pjc")]

    own_mariadb.stop()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@daily"}, suspend=True)
    world.apply("PikoJobConfig", "c", jobId="job", config={"a": 2})
    await world.until_condition("psch", "s", "Ready", reason="DatabaseUnavailable")
    await world.until_condition("pjc", "c", "Ready", reason="DatabaseUnavailable")
    await wait_until_async(lambda: _tries(world) >= 5, what="the mirror to try again and again")
    own_mariadb.start()
    await world.until_condition("psch", "s", "Ready", reason="Pending")
    await world.until_condition("pjc", "c", "Ready", reason="Pending")
    await _look(world, version=2)
    world.kubectl("wait", "--for=condition=Ready", "psch/s", "pjc/c", PATIENTLY)

    for watch, name in zip(watches, ("s", "c"), strict=True):
        watch.kill()
        history = [item for item in _documents(watch.output) if item["metadata"]["name"] == name]
        assert {item.kstatus for item in conclude(history)} == {"Current", "InProgress"}
        for before, after in pairwise(history):
            told = _by_type(after["status"])
            if told["Synced"] == "Unknown":
                known = _by_type(before["status"])
                assert not {name for name, status in told.items() if status == "False" != known[name]}
        away = [item for item in history if _by_type(item["status"])["Synced"] == "Unknown"]
        assert len(away) == 1, "one patch, although it was tried again and again"
    idle = [item for item in _documents(watches[0].output) if item["metadata"]["name"] == "idle"]
    assert {_by_type(item["status"])["Synced"] for item in idle} == {"True"}, "it had nothing to write"


def _tries(world: World) -> float:
    """How often the mirror has found the database away."""
    lines = answer_of(world.port, "/metrics")[1].splitlines()
    found = [line for line in lines if line.startswith('piko_operator_db_errors_total{part="mirror"}')]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


def _by_type(status: Mapping[str, Any]) -> dict[str, str]:
    return {item["type"]: item["status"] for item in status.get("conditions", [])}


async def _look(world: World, *, version: int) -> None:
    """Do what a replica does once it has seen both rows."""
    await world.database.execute("DELETE FROM job_state")
    await world.database.execute(
        f"INSERT INTO job_state (job_id, status, observed_version) VALUES ('job', 'Disabled', {version})"
    )
    await world.database.execute(
        "INSERT INTO job_config_revision"
        " (job_id, revision, content_hash, schema_version, config_json, row_version)"
        f" VALUES ('job', {version}, 'h{version}', 1, '{{}}', {version})"
    )


def _watch(world: World, kind: str, log: Path, reaper: Reaper) -> ChildProcess:
    plane = world.control_plane
    command: list[str | Path] = [find_tool("kubectl"), "--kubeconfig", plane.admin_kubeconfig]
    command += ["-n", world.namespace, "get", kind, "--watch", "-o", "json"]
    process = ChildProcess(command, name=f"watch of {kind}", log=log, reaper=reaper)
    process.wait_for_line('"observedGeneration"')
    return process


def _documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents that follow one another in `text`, up to the last whole one."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text) and text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        try:
            document, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            break
        found.append(document)
    return found
