"""`kubectl piko` reads through the web service of a release: what `piko` reads, or it says why not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from piko.cli.done_by import readings
from piko.cli.web_service import WebService, WebUnavailableError, choose_service
from piko.errors import RefusedError
from piko.store.schema.migrate import upgrade
from tests.cli.piko import CANNOT, NEEDS_ACTION, OK, Answer, Ended, ended_by, kubectl_piko, piko_here, watched
from tests.cli.service_network import ServiceNetwork, service_network
from tests.harness.control_plane import ControlPlane, write_kubeconfig
from tests.harness.databases import TestDatabase
from tests.operator.tenants import bind
from tests.web.rows import add_jobs, add_one_of_each, add_replica, add_runs
from tests.web.serving import served

_LISTER = [{"apiGroups": [""], "resources": ["services"], "verbs": ["list"]}]
_READER = [
    {"apiGroups": [""], "resources": ["services"], "verbs": ["list"]},
    {
        "apiGroups": [""],
        "resources": ["services/proxy"],
        "resourceNames": ["trial-web:http"],
        "verbs": ["get"],
    },
]


def _item(release: str) -> dict[str, Any]:
    labels = {"app.kubernetes.io/instance": release}
    return {"metadata": {"namespace": "data", "name": f"{release}-web", "labels": labels}}


def test_the_service_is_that_of_the_release() -> None:
    one = WebService(namespace="data", name="one-web", release="one")
    assert choose_service([_item("one")], release=None) == one
    assert choose_service([_item("two"), _item("one")], release="one") == one
    assert one.path == "/api/v1/namespaces/data/services/one-web:http/proxy"
    with pytest.raises(RefusedError, match="several releases are in this namespace: one, two"):
        choose_service([_item("two"), _item("one")], release=None)
    for release in (None, "three"):
        with pytest.raises(WebUnavailableError, match="no web service is in this namespace"):
            choose_service([] if release is None else [_item("one")], release=release)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release whose web service is reached from a kubeconfig."""

    database: TestDatabase
    namespace: str
    network: ServiceNetwork
    kubeconfig: Path
    folder: Path

    async def beside_the_database(self, *command: str) -> Answer:
        return await asyncio.to_thread(piko_here, *command, cwd=self.folder, dsn=self.database.dsn)

    async def kubectl_piko(self, *command: str, **environment: str) -> Answer:
        """As kubectl runs its plugin."""
        arguments = ("-n", self.namespace, *command)
        return await asyncio.to_thread(
            kubectl_piko, *arguments, cwd=self.folder, kubeconfig=self.kubeconfig, **environment
        )


@pytest.fixture
async def release(
    control_plane: ControlPlane, sqlite: TestDatabase, tmp_path: Path
) -> AsyncIterator[Release]:
    """A Service of the chart's shape, and somebody who may list Services and read this one.

    The release is named as its namespace is, unlike any other of the cluster.
    """
    await upgrade(sqlite.dsn)
    namespace = control_plane.create_namespace()
    labels = {"piko.dev/component": "web", "app.kubernetes.io/instance": namespace}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "trial-web", "namespace": namespace, "labels": labels},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }
    try:
        control_plane.kubectl("create", "-f", "-", input=json.dumps(service))
        control_plane.service_account_kubeconfig(namespace, "maria")
        bind(control_plane, "reader", _READER, account=(namespace, "maria"), namespaces=[namespace])
        token = control_plane.kubectl("-n", namespace, "create", "token", "maria").stdout.strip()
        with service_network(control_plane, tmp_path) as network:
            kubeconfig = tmp_path / "kubeconfig"
            write_kubeconfig(
                kubeconfig, url=network.url, ca_file=network.ca_file, token=token, namespace=namespace
            )
            yield Release(
                database=sqlite, namespace=namespace, network=network, kubeconfig=kubeconfig, folder=tmp_path
            )
    finally:
        control_plane.remove_namespace(namespace)


def _without_now(text: str) -> Any:
    """What a command says as JSON, without when it was asked."""
    found = json.loads(text)
    return (
        {name: value for name, value in found.items() if name != "now"} if isinstance(found, dict) else found
    )


_ALIKE = (
    "jobs",
    "jobs b:c",
    "runs list",
    "runs --job a --state failed,success -n 1",
    "runs show run-001",
    "logs run-001",
    "why a 2026-01-08T00:00Z",
    "why a 2026-01-08T00:00",
    "report --since 2026-01-08 --until 2026-01-09",
    "report --since 2026-01-08 --until 2026-01-09 --job a",
    "config history a",
    "config history b:c",
    "backfill status",
    "backfill status --job a -n 700",
    "backfill status backfill-1",
    "watermark a",
    "spool list",
    "spool list --sink warehouse --job a --run run-001 --replica one",
    "next a -n 3 --after 2026-01-08",
    "export",
    "export a --owner sql --class-name blue",
)
"""Commands that read; so do `status` and `late`, which say when they were asked, `diff` and `plan`."""


def test_every_command_that_reads_is_tried() -> None:
    tried = (*_ALIKE, "status", "late", "diff", "plan")
    assert [read for read in readings() if not any(command.startswith(read) for command in tried)] == []


async def test_each_read_shows_what_it_shows_beside_the_database(release: Release) -> None:
    await add_one_of_each(release.database)
    await add_replica(release.database, "two", sinks='[{"sink": "warehouse", "waiting": 3}]')
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        for command in _ALIKE:
            there = await release.kubectl_piko(*command.split(), "-o", "json")
            here = await release.beside_the_database(*command.split(), "-o", "json")
            assert (there.code, there.err) == (OK, ""), f"{command}: {there.err}"
            assert _without_now(there.out) == _without_now(here.out), command
        for command in ("status", "late", "jobs", "runs show run-001", "logs run-001", "spool list"):
            there = await release.kubectl_piko(*command.split())
            here = await release.beside_the_database(*command.split())
            assert (there.code, there.err) == (here.code, ""), f"{command}: {there.err}"
            assert [line.split()[:1] for line in there.out.splitlines()] == [
                line.split()[:1] for line in here.out.splitlines()
            ], command
    assert release.network.carried, "and each was carried by the API server"
    assert {path.partition("?")[0].split("/")[2] for path in release.network.carried} == {"v1"}


async def test_resources_are_compared_with_the_rows_that_the_service_shows(release: Release) -> None:
    await add_one_of_each(release.database)
    (release.folder / "a.yaml").write_text(
        "apiVersion: piko.dev/v1\nkind: PikoSchedule\nmetadata: {name: a}\n"
        "spec: {jobId: a, schedule: {cron: '@daily'}}\n",
        encoding="utf-8",
    )
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        there = await release.kubectl_piko("diff", "-f", "a.yaml", "-o", "json")
        cluster = await release.kubectl_piko("diff")
        planned = await release.kubectl_piko("plan", "-f", "a.yaml", "-o", "json")
    here = await release.beside_the_database("diff", "-f", "a.yaml", "-o", "json")
    assert (there.code, there.err, there.out) == (NEEDS_ACTION, "", here.out)
    fields = [item["field"] for item in json.loads(here.out)["differences"]]
    assert fields == ["managed_by", "schedule_expr", "in force"]
    (change,) = json.loads(planned.out)
    assert (planned.code, change["due_before"], change["due_after"]) == (OK, 168, 7)
    assert (cluster.code, "kubectl get pikoschedules" in cluster.err) == (CANNOT, True), "maria may not list"


@pytest.mark.parametrize("count", [2, 30])
async def test_due_times_of_a_list_are_in_the_zone_of_their_schedule_too(
    release: Release, count: int
) -> None:
    jobs = [f"job-{number:02}" for number in range(count)]
    await add_jobs(release.database, *jobs)
    zoned = "UPDATE scheduled_job SET timezone = 'Asia/Shanghai' WHERE job_id <> 'job-00'"
    await release.database.execute(zoned)
    for job in jobs:
        await add_runs(release.database, job, ["SUCCESS"], prefix=job)
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        there = await release.kubectl_piko("runs", "-o", "wide", "-n", "100")
    assert (there.code, there.out.count(" Asia/Shanghai)")) == (OK, count - 1), there


async def test_a_document_is_shown_as_yaml_too(release: Release) -> None:
    await add_one_of_each(release.database)
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        for command in ("jobs", "runs", "runs show run-001", "late"):
            as_json = await release.kubectl_piko(*command.split(), "-o", "json")
            as_yaml = await release.kubectl_piko(*command.split(), "-o", "yaml")
            assert as_yaml.code == as_json.code, as_yaml
            there, here = yaml.safe_load(as_yaml.out), json.loads(as_json.out)
            for found in (there, here):
                if isinstance(found, dict):
                    found.pop("now", None)
            assert there == here, command


async def test_an_answer_is_watched_until_somebody_interrupts_it(release: Release) -> None:
    await add_jobs(release.database, "orders")
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        answers = await asyncio.to_thread(
            watched, "-n", release.namespace, "jobs", "-w", kubeconfig=release.kubeconfig, answers=2
        )
        refused = await release.kubectl_piko("jobs", "-w", "-o", "yaml")
    assert [line.split()[0] for line in answers if "JOB" in line or "orders" in line] == [
        *("JOB", "orders"),
        *("JOB", "orders"),
    ]
    assert (refused.code, "leave one of them out" in refused.err) == (CANNOT, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("command", ["jobs -w", "logs run-002 -f"])
async def test_who_ends_a_stream_leaves_no_process_behind(
    release: Release, command: str, number: signal.Signals
) -> None:
    await add_one_of_each(release.database)
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        ended = await asyncio.to_thread(
            ended_by,
            number,
            *("-n", release.namespace, *command.split()),
            cwd=release.folder,
            kubeconfig=release.kubeconfig,
            until="run-002" if "logs" in command else "JOB",
        )
    assert ended == Ended(code=128 + number, err="", children=1, left=[])


async def test_remedies_are_commands_as_they_were_called(release: Release) -> None:
    await add_one_of_each(release.database)
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        status = await release.kubectl_piko("status")
        missing = await release.kubectl_piko("runs", "show", "none")
        wide = await release.kubectl_piko("status", "--no-such-option")
    remedies = [line.strip() for line in status.out.splitlines() if line.strip().startswith(">")]
    assert remedies
    called = f"kubectl piko -n {release.namespace} "
    assert any(line.startswith(f"> {called}") for line in remedies), remedies
    theirs = [line for line in remedies if line.startswith("> piko ")]
    assert all(line.startswith("> piko run ") for line in theirs), "which the plugin does not have"
    assert f"`{called}runs -o wide` lists ids" in missing.err
    assert f"Try '{called}status -h'" in wide.err


async def test_with_all_namespaces_each_release_is_asked(
    release: Release, control_plane: ControlPlane
) -> None:
    await add_jobs(release.database, "orders")
    refused = await release.kubectl_piko("jobs", "-A")
    assert (refused.code, "without -A it reads in one namespace: -n" in refused.err) == (CANNOT, True)
    bind(control_plane, "reader-of-all", _LISTER, account=(release.namespace, "maria"), namespaces=[])
    control_plane.until_may(
        f"system:serviceaccount:{release.namespace}:maria", "list", "services", namespace="default"
    )
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        shown = await release.kubectl_piko("jobs", "-A", f"--release={release.namespace}")
        listed = await release.kubectl_piko("jobs", "-A", f"--release={release.namespace}", "-o", "json")
        for command in ("pause orders", "status -w", "logs orders -f", "settings"):
            answer = await release.kubectl_piko("-A", *command.split())
            assert (answer.code, "done in one namespace: -n" in answer.err) == (CANNOT, True), command
        release.network.backends.clear()
        silent = await release.kubectl_piko("jobs", "-A", f"--release={release.namespace}")
    assert shown.code == OK, shown.err
    heading, *table = shown.out.splitlines()
    assert heading == f"# namespace {release.namespace}, release {release.namespace}"
    assert [line.split()[0] for line in table][:2] == ["JOB", "orders"]
    (found,) = json.loads(listed.out)["releases"]
    assert (found["namespace"], found["error"]) == (release.namespace, None)
    assert [job["job_id"] for job in found["answer"]] == ["orders"]
    assert (silent.code, "no endpoints available" in silent.err) == (CANNOT, True)


async def test_what_the_service_refuses_is_said_in_its_words(release: Release) -> None:
    await add_jobs(release.database, "orders")
    async with served(release.database) as origin:
        release.network.backends["trial-web:http"] = origin
        for command in (
            *("jobs order", "why order", "logs order", "runs --job order", "config history order"),
            *("watermark order", "backfill status --job order", "next order"),
        ):
            answer = await release.kubectl_piko(*command.split())
            assert answer.code == CANNOT, answer
            assert "did you mean `orders`?" in answer.err
        answer = await release.kubectl_piko("runs", "show", "none")
        assert (answer.code, "no run 'none' in job_run" in answer.err) == (CANNOT, True)
        answer = await release.kubectl_piko("watermark", "orders")
        assert (answer.code, "no replica has registered it" in answer.err) == (CANNOT, True)
        answer = await release.kubectl_piko("backfill", "status", "none")
        assert (answer.code, "no backfill 'none'" in answer.err) == (CANNOT, True)
        answer = await release.kubectl_piko("status", "-o", "json")
        found = json.loads(answer.out)
        assert (answer.code, found["well"]) == (NEEDS_ACTION, False)
        assert found["database"] == {"where": "the release", "schema": "current"}


async def test_where_the_service_cannot_be_asked_it_says_why_and_a_pod_is_looked_for(
    release: Release, control_plane: ControlPlane
) -> None:
    async def answer(*command: str) -> str:
        found = await release.kubectl_piko(*command)
        assert found.code == CANNOT, found
        assert "this runs in a pod instead" in found.err
        assert "pods is forbidden" in found.err, "which this user may not"
        return found.err

    assert 'no endpoints available for service "trial-web:http"' in await answer("status")
    tokens = release.folder / "tokens"
    tokens.mkdir()
    (tokens / "viewer").write_text(f"maria {hashlib.sha256(b'reads').hexdigest()}\n", encoding="utf-8")
    async with served(release.database, access="token", tokens_dir=tokens) as origin:
        release.network.backends["trial-web:http"] = origin
        assert "the web service refuses you" in await answer("jobs")
        found = await release.kubectl_piko("jobs", "-o", "json", KUBECTL_PIKO_TOKEN="reads")
        assert (found.code, found.out.strip()) == (OK, "[]"), found.err
    control_plane.kubectl("-n", release.namespace, "delete", "service", "trial-web")
    assert "no web service is in this namespace" in await answer("late")
