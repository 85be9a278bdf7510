"""`kubectl annotate … piko.dev/trigger`: each value runs the job once, whatever is killed meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.piko import CANNOT, OK, kubectl_piko
from tests.harness.databases import TestDatabase
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.operator.conftest import World
from tests.operator.tenants import bind

_APP = """
from piko import PikoApp

app = PikoApp()

@app.job("plain")
async def plain(ctx, scheduled_time):
    pass

@app.job("stateful", stateful=True)
async def stateful(ctx, data_interval):
    pass

app.run()
"""
_SELDOM = {"cron": "0 0 29 2 *"}


def _replica(world: World, piko_process: PikoProcessFactory, folder: Path) -> ChildProcess:
    (folder / "app.py").write_text(_APP, encoding="utf-8")
    settings = {"PIKO_MYSQL_DSN": world.database.dsn, "PIKO_HTTP_PORT": str(free_port())}
    return piko_process("app.py", cwd=folder, env=settings, name="runtime")


async def _annotate(world: World, name: str, value: str, *, kind: str = "pikoschedule") -> None:
    world.kubectl("annotate", kind, name, f"piko.dev/trigger={value}", "--overwrite")


async def _until_answered(world: World, name: str, value: str, *, kind: str = "psch") -> dict[str, Any]:
    def answer() -> dict[str, Any] | None:
        found: dict[str, Any] = world.read(kind, name).get("status", {}).get("trigger") or {}
        return found if found.get("value") == value else None

    return await wait_until_async(answer, what=f"{name}: an answer to {value!r}")


async def _until_ready(world: World, name: str) -> None:
    await world.until_condition("psch", name, "Ready", reason="Scheduled")


async def _manual_runs(database: TestDatabase, job_id: str) -> list[tuple[str, str]]:
    query = f"SELECT run_id, state FROM job_run WHERE job_id = '{job_id}' AND trigger_type = 'manual'"
    return [(str(row[0]), str(row[1])) for row in await database.execute(query)]


async def _until_run(database: TestDatabase, job_id: str, runs: int) -> list[str]:
    """The ids of the manual runs of the job, once there are as many and all of them have succeeded."""

    async def ended() -> list[str] | None:
        found = await _manual_runs(database, job_id)
        done = len(found) == runs and all(state == "SUCCESS" for _, state in found)
        return [run_id for run_id, _ in found] if done else None

    return await wait_until_async(ended, what=f"{runs} runs of {job_id}")


async def test_each_new_value_runs_the_job_once_and_the_change_log_says_who(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    world.apply("PikoSchedule", "s", jobId="plain", schedule=_SELDOM)
    await _until_ready(world, "s")
    await _annotate(world, "s", "one")
    answer = await _until_answered(world, "s", "one")
    assert await _until_run(world.database, "plain", 1) == [answer["runId"]]
    condition = world.condition("psch", "s", "Triggered")
    assert (condition["status"], condition["reason"]) == ("True", "Queued")
    assert answer["runId"] in condition["message"]

    await _annotate(world, "s", "two")
    second = await _until_answered(world, "s", "two")
    assert set(await _until_run(world.database, "plain", 2)) == {answer["runId"], second["runId"]}
    query = "SELECT who, via, reason FROM change_log WHERE what = 'trigger' ORDER BY change_id"
    where = f"PikoSchedule {world.namespace}/s of cluster test, piko.dev/trigger="
    assert [tuple(row) for row in await world.database.execute(query)] == [
        ("kubectl-annotate", "resource", f"{where}'one'"),
        ("kubectl-annotate", "resource", f"{where}'two'"),
    ]
    await wait_until_async(lambda: len(world.events("Triggered")) == 2, what="an event for each")

    def last_state() -> bool:
        return bool(world.read("psch", "s")["status"].get("lastRun", {}).get("state") == "SUCCESS")

    await wait_until_async(last_state, what="the status to tell how the last run ended")


async def test_a_restart_repeats_no_value_although_the_run_was_pruned(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    operator = world.start()
    _replica(world, piko_process, tmp_path)
    world.apply("PikoSchedule", "s", jobId="plain", schedule=_SELDOM)
    await _until_ready(world, "s")
    await _annotate(world, "s", "one")
    answer = await _until_answered(world, "s", "one")
    await _until_run(world.database, "plain", 1)

    # As if it had been killed between the run and the status, and the run had been pruned since.
    operator.kill()
    patch = json.dumps({"status": {"trigger": None}})
    world.kubectl("patch", "psch", "s", "--subresource=status", "--type=merge", "-p", patch)
    await world.database.execute("DELETE FROM job_run")
    world.start()
    assert await _until_answered(world, "s", "one") == {**answer, "time": _any_time(world, "s")}
    assert await _manual_runs(world.database, "plain") == []

    await _annotate(world, "s", "two")
    second = await _until_answered(world, "s", "two")
    assert await _until_run(world.database, "plain", 1) == [second["runId"]]


def _any_time(world: World, name: str) -> str:
    return str(world.read("psch", name)["status"]["trigger"]["time"])


async def test_what_was_annotated_while_nobody_was_there_is_run_when_they_are_back(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    operator = world.start()
    replica = _replica(world, piko_process, tmp_path)
    world.apply("PikoSchedule", "s", jobId="plain", schedule=_SELDOM)
    await _until_ready(world, "s")
    replica.kill()
    operator.kill()
    await _annotate(world, "s", "one")
    operator = world.start()
    answer = await _until_answered(world, "s", "one")
    assert await _manual_runs(world.database, "plain") == [(answer["runId"], "QUEUED")]
    operator.kill()
    world.start()
    _replica(world, piko_process, tmp_path)
    assert await _until_run(world.database, "plain", 1) == [answer["runId"]]


async def test_a_value_that_cannot_be_acted_on_says_why_and_is_not_kept_for_later(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    await world.database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr)"
        " VALUES ('by-sql', 'cron', '{\"cron\":\"@daily\"}')"
    )
    world.apply("PikoSchedule", "windows", jobId="stateful", schedule={"interval": {"every": "1h"}})
    world.apply("PikoSchedule", "nobody", jobId="nobody", schedule=_SELDOM)
    world.apply("PikoSchedule", "foreign", jobId="by-sql", schedule=_SELDOM)
    world.apply("PikoJobConfig", "c", jobId="nobody", config={"a": 1})
    await _until_ready(world, "windows")
    expected = {
        ("pikoschedule", "windows"): "a stateful job runs windows of data",
        ("pikoschedule", "nobody"): "no replica has registered it",
        ("pikoschedule", "foreign"): "the resource is not synced (RowNotManaged)",
        ("pikojobconfig", "c"): "annotate the PikoSchedule of job 'nobody'",
    }
    for (kind, name), why in expected.items():
        await _annotate(world, name, "one", kind=kind)
        answer = await _until_answered(world, name, "one", kind=kind)
        assert why in answer["refusal"]
        condition = world.condition(kind, name, "Triggered")
        assert (condition["status"], condition["reason"]) == ("False", "Refused")
        assert why in condition["message"]
    await wait_until_async(lambda: len(world.events("TriggerRefused")) == 4, what="an event for each")
    query = "SELECT COUNT(*) FROM job_run WHERE trigger_type = 'manual'"
    assert [tuple(row) for row in await world.database.execute(query)] == [(0,)]


def _kubectl_piko(kubeconfig: Path, *arguments: str, cwd: Path) -> tuple[int, str]:
    """As kubectl runs its plugin."""
    answer = kubectl_piko(*arguments, cwd=cwd, kubeconfig=kubeconfig)
    return answer.code, answer.out + answer.err


_PERSON = [{"apiGroups": ["piko.dev"], "resources": ["pikoschedules"], "verbs": ["get", "list", "patch"]}]


@pytest.fixture
def kubeconfig(world: World) -> Path:
    """Of somebody who may read and patch the schedules of one namespace, and nothing else."""
    found = world.control_plane.service_account_kubeconfig(world.namespace, "maria")
    bind(
        world.control_plane,
        "people",
        _PERSON,
        account=(world.namespace, "maria"),
        namespaces=[world.namespace],
    )
    user = f"system:serviceaccount:{world.namespace}:maria"
    world.control_plane.until_may(user, "patch", "pikoschedules.piko.dev", namespace=world.namespace)
    return found


async def test_kubectl_piko_acts_at_the_resource_with_the_rights_on_it_alone(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path, kubeconfig: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    world.apply("PikoSchedule", "s", jobId="plain", schedule=_SELDOM)
    world.apply("PikoSchedule", "w", jobId="stateful", schedule={"interval": {"every": "1h"}})
    await _until_ready(world, "s")
    await _until_ready(world, "w")

    here = ("-n", world.namespace)
    code, text = _kubectl_piko(kubeconfig, *here, "trigger", "plain", "--dry-run", cwd=tmp_path)
    assert (code, "patched in namespace" in text and "(--dry-run)" in text) == (OK, True), text
    code, text = _kubectl_piko(
        kubeconfig, *here, "trigger", "plain", "--reason", "the source is back", cwd=tmp_path
    )
    assert (code, "plain: queued as run " in text) == (OK, True), text
    (run_id,) = await _until_run(world.database, "plain", 1)
    assert run_id in text
    query = "SELECT who, via, reason FROM change_log WHERE what = 'trigger'"
    ((who, via, reason),) = await world.database.execute(query)
    assert (who, via) == ("kubectl-piko", "resource")
    assert str(reason).endswith(f"system:serviceaccount:{world.namespace}:maria: the source is back'")

    code, text = _kubectl_piko(kubeconfig, *here, "trigger", "stateful", cwd=tmp_path)
    assert (code, "a stateful job runs windows of data" in text) == (CANNOT, True), text

    code, text = _kubectl_piko(kubeconfig, *here, "pause", "plain", "--reason", "down", cwd=tmp_path)
    assert (code, "patched" in text) == (OK, True), text
    await world.until_row("SELECT enabled FROM scheduled_job WHERE job_id = 'plain'", [(0,)])
    assert world.read("psch", "s")["metadata"]["annotations"]["piko.dev/reason"] == "down"
    code, text = _kubectl_piko(kubeconfig, *here, "trigger", "plain", "-o", "json", cwd=tmp_path)
    assert code == OK, text
    assert set(await _until_run(world.database, "plain", 2)) == {run_id, json.loads(text)["run_id"]}

    world.kubectl("annotate", "psch", "s", "piko.dev/paused=true")
    code, text = _kubectl_piko(kubeconfig, *here, "resume", "plain", cwd=tmp_path)
    assert (code, "patched" in text) == (OK, True), text
    await world.until_row("SELECT enabled FROM scheduled_job WHERE job_id = 'plain'", [(1,)])

    # It owns no resource, and there is no pod to run the command in.
    code, text = _kubectl_piko(kubeconfig, *here, "trigger", "unknown", cwd=tmp_path)
    assert (code, "pods is forbidden" in text) == (CANNOT, True), text
