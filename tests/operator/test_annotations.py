"""Pausing a schedule, and having it compared now, by annotations."""

from __future__ import annotations

from typing import Any

import pytest

from piko_operator.annotations import PAUSED, RECONCILE_AT, pause_in
from piko_operator.inventory import JOB_CONFIG, SCHEDULE, Inventory, Seen, seen_from
from piko_operator.trigger_annotation import LONGEST_VALUE
from tests.harness.waiting import wait_until_async
from tests.operator.conftest import World

_ENABLED = "SELECT enabled FROM scheduled_job WHERE job_id = 'job'"
_PAUSES = "SELECT what, who, via, reason FROM change_log WHERE what IN ('pause', 'resume') ORDER BY change_id"


@pytest.mark.parametrize(
    ("annotations", "pause"),
    [
        ({}, None),
        ({"other": "true"}, None),
        ({PAUSED: "true"}, "true"),
        ({PAUSED: "the source moves"}, "the source moves"),
        ({PAUSED: ""}, ""),
        ({PAUSED: "false"}, None),
        ({PAUSED: " False "}, None),
    ],
)
def test_any_value_but_false_pauses(annotations: dict[str, str], pause: str | None) -> None:
    assert pause_in(annotations) == pause


def _seen(version: int, kind: str = SCHEDULE, **annotations: str) -> Seen:
    metadata: dict[str, Any] = {
        "namespace": "data",
        "name": "orders",
        "uid": "uid",
        "generation": 1,
        "resourceVersion": str(version),
        "annotations": {f"piko.dev/{name.replace('_', '-')}": value for name, value in annotations.items()},
    }
    return seen_from({"metadata": metadata, "spec": {"jobId": "job"}}, kind=kind)


async def test_a_changed_annotation_has_the_resource_compared_although_the_generation_stays() -> None:
    inventory = Inventory()

    def marks(seen: Seen) -> bool:
        inventory.observe(seen)
        return bool(inventory.take_marked(9))

    assert marks(_seen(1))
    assert not marks(_seen(2))
    assert marks(_seen(3, paused="true"))
    assert not marks(_seen(4, paused="true"))
    assert marks(_seen(5, paused="the source moves"))
    assert marks(_seen(6))
    assert not marks(_seen(7, paused="false"))
    assert marks(_seen(8, reconcile_at="now"))
    assert not marks(_seen(9, reconcile_at="now"))


def test_values_are_bounded_and_a_config_is_never_paused() -> None:
    long = _seen(1, paused="x" * 5000, reconcile_at="y" * 5000)
    assert [len(text or "") for text in (long.paused, long.reconcile_at)] == [LONGEST_VALUE, LONGEST_VALUE]
    assert _seen(1, JOB_CONFIG, paused="true").paused is None


async def test_a_pause_by_annotation_is_an_edit_and_no_drift_also_over_a_restart(world: World) -> None:
    operator = world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"}, driftPolicy="Observe")
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    await world.until_row(_ENABLED, [(1,)])
    world.kubectl("annotate", "psch", "s", f"{PAUSED}=the source moves")
    await world.until_row(_ENABLED, [(0,)])
    where = f"PikoSchedule {world.namespace}/s of cluster test, "
    by_annotation = ("pause", "kubectl-annotate", "resource", f"{where}{PAUSED}='the source moves'")
    await world.until_row(_PAUSES, [by_annotation])
    await wait_until_async(
        lambda: world.read("psch", "s")["status"].get("paused") == "the source moves", what="the status"
    )
    await world.database.execute(
        "INSERT INTO job_state (job_id, status, observed_version, message) "
        "SELECT job_id, 'Disabled', version, 'the row is disabled' FROM scheduled_job"
    )
    condition = await world.until_condition("psch", "s", "Ready", reason="Disabled")
    assert condition["status"] == "True"
    assert condition["message"].startswith(f"the annotation {PAUSED}='the source moves' pauses it")

    operator.kill()
    world.kubectl("annotate", "psch", "s", f"{PAUSED}-")
    world.start()
    await world.until_row(_ENABLED, [(1,)])
    resumed = ("resume", "pikoschedule/s", "resource", f"{where}without {PAUSED}")
    await world.until_row(_PAUSES, [by_annotation, resumed])
    await wait_until_async(lambda: "paused" not in world.read("psch", "s")["status"], what="the status")
    assert world.condition("psch", "s", "Drifted") == {}
    assert world.events("DriftCorrected") == []


async def test_a_new_value_has_the_resource_compared_and_is_noted(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@hourly"})
    world.apply("PikoJobConfig", "c", jobId="job", config={})
    for value in ("first", "second"):
        for kind, name in (("psch", "s"), ("pjc", "c")):
            world.kubectl("annotate", kind, name, f"{RECONCILE_AT}={value}", "--overwrite")

            def handled(kind: str = kind, name: str = name, value: str = value) -> bool:
                status = world.read(kind, name).get("status", {})
                return bool(status.get("lastHandledReconcileAt") == value)

            await wait_until_async(handled, what=f"{kind} {name}: {value}")
    await world.database.execute("UPDATE scheduled_job SET priority = 7 WHERE job_id = 'job'")
    world.kubectl("annotate", "psch", "s", f"{RECONCILE_AT}=third", "--overwrite")
    await world.until_row("SELECT priority FROM scheduled_job", [(0,)])
