"""A PikoBackfill on a real cluster and MariaDB: asked for once, followed, cancelled by its deletion."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from piko_operator.annotations import PAUSED, RECONCILE_AT
from tests.cli.piko import CANNOT, OK, Answer, kubectl_piko
from tests.harness.ports import free_port
from tests.harness.processes import ChildProcess
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.operator.conftest import World
from tests.operator.tenants import bind, user_of

_APP = """
import asyncio
import pathlib

from piko import PikoApp

app = PikoApp()

@app.job("daily", stateful=True)
async def daily(ctx, scheduled_time):
    if pathlib.Path("wait").exists():
        await asyncio.sleep(3600)
    if ctx["data_interval"].start.day == 3 and pathlib.Path("fail").exists():
        raise ValueError("no data on the third")

@app.job("plain")
async def plain(ctx, scheduled_time):
    pass

app.run()
"""
_RANGE = {"from": "2026-01-01T00:00:00Z", "to": "2026-01-06T00:00:00Z"}
_WINDOWS = 5
_OPEN = (None, "Pending", "Active", "Paused")


def _replica(world: World, piko_process: PikoProcessFactory, folder: Path) -> ChildProcess:
    (folder / "app.py").write_text(_APP, encoding="utf-8")
    settings = {"PIKO_MYSQL_DSN": world.database.dsn, "PIKO_HTTP_PORT": str(free_port())}
    return piko_process("app.py", cwd=folder, env=settings, name="runtime")


def _schedule(world: World, **spec: Any) -> None:
    # Nothing is due of itself: what runs was asked for.
    world.apply("PikoSchedule", "daily", jobId="daily", schedule={"cron": "0 0 * * *"}, suspend=True, **spec)


async def _under_way(world: World, piko_process: PikoProcessFactory, folder: Path) -> ChildProcess:
    """The operator, when the backfill `january` runs windows that last until the file `wait` is removed."""
    operator = world.start()
    _replica(world, piko_process, folder)
    _schedule(world)
    (folder / "wait").touch()
    world.apply("PikoBackfill", "january", jobId="daily", **_RANGE)
    await _until_phase(world, "january", "Active")
    return operator


async def _until_phase(world: World, name: str, phase: str) -> dict[str, Any]:
    def reached() -> dict[str, Any] | None:
        status: dict[str, Any] = world.read("pbf", name).get("status", {})
        assert status.get("phase") in (*_OPEN, phase), status
        return status if status.get("phase") == phase else None

    return await wait_until_async(reached, what=f"PikoBackfill {name} to be {phase}")


async def _rows(world: World) -> list[tuple[Any, ...]]:
    query = "SELECT backfill_id, state, parallelism, managed_by FROM backfill ORDER BY created_at"
    return [tuple(row) for row in await world.database.execute(query)]


async def _windows(world: World) -> list[str]:
    query = "SELECT window_start FROM job_run WHERE trigger_type = 'backfill' ORDER BY window_start"
    return [f"{row[0]:%m-%d}" for row in await world.database.execute(query)]


async def test_every_window_of_the_range_runs_once_and_the_status_says_how_far_it_is(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    _schedule(world)
    world.apply("PikoBackfill", "january", jobId="daily", parallel=2, **_RANGE)
    status = await _until_phase(world, "january", "Succeeded")
    assert status["windows"] == {"total": _WINDOWS, "done": _WINDOWS, "failed": 0, "running": 0}
    assert status["startTime"] <= status["completionTime"]
    assert await _windows(world) == ["01-01", "01-02", "01-03", "01-04", "01-05"]
    for condition in ("Synced", "Ready", "Complete"):
        world.kubectl("wait", f"--for=condition={condition}", "pbf/january", "--timeout=60s")
    assert world.condition("pbf", "january", "Failed")["status"] == "False"
    ((backfill_id, state, parallelism, owner),) = await _rows(world)
    uid = world.read("pbf", "january")["metadata"]["uid"]
    assert (backfill_id, state, parallelism) == (status["backfillId"], "SUCCEEDED", 2)
    assert owner == f"test/{world.namespace}/january/{uid}"
    query = "SELECT via, reason FROM change_log WHERE what = 'backfill'"
    (line,) = [tuple(row) for row in await world.database.execute(query)]
    assert line == ("resource", f"PikoBackfill {world.namespace}/january of cluster test, generation 1")
    await wait_until_async(
        lambda: world.events("BackfillStarted") and world.events("BackfillSucceeded"), what="both events"
    )
    query = "SELECT last_data_time FROM scheduled_job"
    assert [tuple(row) for row in await world.database.execute(query)] == [(None,)], "the watermark stays"

    def released() -> bool:
        return not world.read("pbf", "january")["metadata"].get("finalizers")

    await wait_until_async(released, what="no operator to be needed for its deletion any more")


async def test_it_is_asked_for_once_however_often_the_operator_is_killed(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    operator = world.start()
    replica = _replica(world, piko_process, tmp_path)
    _schedule(world)
    (tmp_path / "wait").touch()
    world.apply("PikoBackfill", "january", jobId="daily", **_RANGE)
    status = await _until_phase(world, "january", "Active")
    for _ in range(2):
        # As if it had been killed between the row and the status.
        operator.kill()
        world.kubectl(
            "patch", "pbf", "january", "--subresource=status", "--type=merge",
            "-p", json.dumps({"status": {"backfillId": None, "phase": None, "conditions": None}}),
        )  # fmt: skip
        operator = world.start()
        assert (await _until_phase(world, "january", "Active"))["backfillId"] == status["backfillId"]
    assert len(await _rows(world)) == 1
    (tmp_path / "wait").unlink()
    replica.kill()
    _replica(world, piko_process, tmp_path)
    await _until_phase(world, "january", "Succeeded")
    operator.kill()
    world.start()
    await _until_phase(world, "january", "Succeeded")
    assert sorted(set(await _windows(world))) == ["01-01", "01-02", "01-03", "01-04", "01-05"]
    assert len(await _rows(world)) == 1


async def test_it_is_paused_and_widened_by_its_spec_and_an_edit_of_its_row_is_undone(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    _schedule(world)
    world.apply("PikoBackfill", "january", jobId="daily", suspend=True, **_RANGE)
    await _until_phase(world, "january", "Paused")
    assert await _windows(world) == []
    await world.database.execute("UPDATE backfill SET state = 'ACTIVE'")
    await wait_until_async(lambda: world.events("DriftCorrected"), what="the edit to be undone")
    await world.until_row("SELECT state FROM backfill", [("PAUSED",)])
    patch = {"spec": {"suspend": False, "parallel": 3}}
    world.kubectl("patch", "pbf", "january", "--type=merge", "-p", json.dumps(patch))
    await _until_phase(world, "january", "Succeeded")
    assert [row[2] for row in await _rows(world)] == [3]
    query = "SELECT after FROM change_log WHERE what = 'change_backfill' AND via = 'resource'"
    changes = [json.loads(row[0]) for row in await world.database.execute(query)]
    assert {"parallelism": 3}.items() <= next(item for item in changes if "parallelism" in item).items()


async def test_it_is_paused_by_its_annotation_too_which_is_no_drift(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    operator = await _under_way(world, piko_process, tmp_path)
    world.kubectl("annotate", "pbf", "january", f"{PAUSED}=the source moves", f"{RECONCILE_AT}=now")
    status = await _until_phase(world, "january", "Paused")
    assert (status["paused"], status["lastHandledReconcileAt"]) == ("the source moves", "now")
    said = world.condition("pbf", "january", "Ready")["message"]
    assert said.startswith(f"the annotation {PAUSED}='the source moves' pauses it")
    query = "SELECT who, reason FROM change_log WHERE what = 'change_backfill' ORDER BY change_id"
    ((who, reason),) = await world.database.execute(query)
    assert who == "kubectl-annotate"
    assert str(reason).endswith(f"{PAUSED}='the source moves'")

    operator.kill()
    world.kubectl("annotate", "pbf", "january", f"{PAUSED}-")
    world.start()
    await world.until_row("SELECT state FROM backfill", [("ACTIVE",)])
    await wait_until_async(lambda: "paused" not in world.read("pbf", "january")["status"], what="the status")
    assert world.events("DriftCorrected") == []


async def test_deleting_it_cancels_it_also_if_no_operator_was_there(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    operator = await _under_way(world, piko_process, tmp_path)
    operator.kill()
    world.kubectl("delete", "pbf", "january", "--wait=false")
    world.start()

    def deleted() -> bool:
        return "january" not in world.kubectl("get", "pbf", "-o", "name")

    await wait_until_async(deleted, what="the resource to end")
    assert [row[1] for row in await _rows(world)] == ["CANCELLED"]
    await world.until_row("SELECT COUNT(*) FROM job_run WHERE state = 'RUNNING'", [(0,)])

    (tmp_path / "wait").unlink()
    world.apply("PikoBackfill", "january", jobId="daily", **_RANGE)
    await _until_phase(world, "january", "Succeeded")
    assert [row[1] for row in await _rows(world)] == ["CANCELLED", "SUCCEEDED"], "another uid asks again"


async def test_failed_windows_fail_it_and_it_is_deleted_when_its_time_is_over(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    _schedule(world)
    (tmp_path / "fail").touch()
    world.apply("PikoBackfill", "january", jobId="daily", **_RANGE)
    status = await _until_phase(world, "january", "Failed")
    assert status["windows"] == {"total": _WINDOWS, "done": _WINDOWS - 1, "failed": 1, "running": 0}
    failed = world.condition("pbf", "january", "Failed")
    assert failed["message"].startswith("1 of 5 windows failed: piko runs --backfill")
    assert world.condition("pbf", "january", "Stalled")["status"] == "True"
    world.apply("PikoBackfill", "short", jobId="daily", ttlAfterFinished="1s", **_RANGE)

    async def ended() -> bool:
        return [row[1] for row in await _rows(world)] == ["FAILED", "FAILED"]

    await wait_until_async(ended, what="the second to end")

    def deleted() -> bool:
        return world.kubectl("get", "pbf", "-o", "name").split() == ["pikobackfill.piko.dev/january"]

    await wait_until_async(deleted, what="the second to be deleted")


async def test_what_cannot_run_says_why_and_runs_once_it_can(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    world.apply("PikoSchedule", "plain", jobId="plain", schedule={"cron": "0 0 29 2 *"})
    await world.until_condition("psch", "plain", "Ready", reason="Scheduled")
    world.apply("PikoBackfill", "early", jobId="daily", **_RANGE)
    world.apply("PikoBackfill", "plain", jobId="plain", **_RANGE)
    world.apply("PikoBackfill", "ahead", jobId="daily", **{**_RANGE, "to": "2096-01-01T00:00:00Z"})
    await world.until_condition("pbf", "early", "Synced", reason="JobMissing")
    await world.until_condition("pbf", "plain", "Synced", reason="Refused")
    await world.until_condition("pbf", "ahead", "Synced", reason="NotDue")
    assert "it is stateless" in world.condition("pbf", "plain", "Synced")["message"]
    assert await _rows(world) == []
    _schedule(world)
    await _until_phase(world, "early", "Succeeded")


async def test_a_job_of_another_namespace_cannot_be_run(world: World) -> None:
    await world.database.execute(
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, managed_by)"
        " VALUES ('theirs', 'cron', '{\"cron\":\"@daily\"}', 'test/other/s/1')"
    )
    world.start()
    world.apply("PikoBackfill", "mine", jobId="theirs", **_RANGE)
    found = await world.until_condition("pbf", "mine", "Synced", reason="NotAllowed")
    assert "other" not in found["message"].replace("another", "")
    assert await _rows(world) == []
    world.kubectl("delete", "pbf", "mine", "--timeout=60s")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ({"to": "2026-02-01T00:00:00Z"}, "to is immutable: create another PikoBackfill"),
        ({"from": "2025-01-01T00:00:00Z"}, "from is immutable: create another PikoBackfill"),
        ({"ttlAfterFinished": "1h"}, "ttlAfterFinished is immutable: create another PikoBackfill"),
        ({"jobId": "other"}, "jobId is immutable"),
    ],
)
async def test_the_range_cannot_be_changed(world: World, edit: dict[str, Any], said: str) -> None:
    world.apply("PikoBackfill", "january", jobId="daily", **_RANGE)
    patch = json.dumps({"spec": edit})
    answer = world.control_plane.kubectl(
        "-n", world.namespace, "patch", "pbf", "january", "--type=merge", "-p", patch, check=False
    )
    assert answer.returncode != 0
    assert said in answer.stderr


_PERSON = [
    {"apiGroups": ["piko.dev"], "resources": ["pikoschedules"], "verbs": ["list"]},
    {
        "apiGroups": ["piko.dev"],
        "resources": ["pikobackfills"],
        "verbs": ["get", "list", "create", "patch", "delete"],
    },
]


@pytest.fixture
def kubeconfig(world: World) -> Path:
    """Of somebody who may make backfills in one namespace, and nothing else."""
    found, account = world.control_plane.service_account_kubeconfig(world.namespace, "maria"), "maria"
    owner = (world.namespace, account)
    bind(world.control_plane, "people", _PERSON, account=owner, namespaces=[world.namespace])
    world.control_plane.until_may(
        user_of(owner), "create", "pikobackfills.piko.dev", namespace=world.namespace
    )
    return found


async def test_kubectl_piko_makes_one_with_the_rights_on_it_alone(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path, kubeconfig: Path
) -> None:
    world.start()
    _replica(world, piko_process, tmp_path)
    _schedule(world, timeZone="UTC")
    world.apply("PikoSchedule", "plain", jobId="plain", schedule={"cron": "0 0 29 2 *"})
    await world.until_condition("psch", "daily", "Ready", reason="Disabled")
    await world.until_condition("psch", "plain", "Ready", reason="Scheduled")
    (tmp_path / "wait").touch()

    async def said(*words: str) -> Answer:
        called = ("-n", world.namespace, "backfill", *words)
        return await asyncio.to_thread(kubectl_piko, *called, cwd=tmp_path, kubeconfig=kubeconfig)

    january = ("--from", "2026-01-01", "--to", "2026-01-06")
    made = await said("daily", *january, "--parallel", "2", "--reason", "a late file")
    assert made.code == OK, made.err
    ((backfill_id, state, parallelism, owner),) = await _rows(world)
    name = str(owner).split("/")[2]
    assert (state, parallelism) == ("ACTIVE", 2)
    assert made.out.startswith(
        f"daily: backfill {backfill_id}: 5 windows between 2026-01-01T00:00:00Z and 2026-01-06T00:00:00Z, "
        f"2 at once, by PikoBackfill {world.namespace}/{name}\n"
    )
    assert f"backfill status {backfill_id}" in made.out
    body = world.read("pbf", name)
    assert body["metadata"]["annotations"]["piko.dev/reason"] == "a late file"
    assert body["spec"]["ttlAfterFinished"] == "168h"
    query = "SELECT who, via FROM change_log WHERE what = 'backfill'"
    assert [tuple(row) for row in await world.database.execute(query)] == [("kubectl-piko", "resource")]

    assert (await said("pause", backfill_id[:12])).code == OK
    await _until_phase(world, name, "Paused")
    (tmp_path / "wait").unlink()
    assert (await said("resume", name, "--reason", "it is there")).code == OK
    await world.until_row("SELECT state FROM backfill", [("ACTIVE",)])

    refused = await said("plain", "--from", "2026-01-01T00:00:00Z", "--to", "2026-01-06T00:00:00Z")
    assert (refused.code, "plain: " in refused.err) == (CANNOT, True)
    assert "it is stateless" in refused.err
    assert "retried" not in refused.err

    def left() -> bool:
        return world.kubectl("get", "pbf", "-o", "name").split() == [f"pikobackfill.piko.dev/{name}"]

    await wait_until_async(left, what="nothing to be left of what was refused")
    ahead = await said("daily", "--from", "2026-01-01", "--to", "2096-01-01", "-o", "json")
    assert (ahead.code, json.loads(ahead.out)["backfill_id"]) == (OK, None)
