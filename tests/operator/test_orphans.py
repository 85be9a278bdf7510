"""Resources that go, come back, move and vanish: their rows, and what their jobs have done."""

from __future__ import annotations

import re

import pytest

from piko_operator.orphans import allowed
from tests.harness.ports import free_port
from tests.harness.waiting import PATIENTLY, wait_until_async
from tests.operator.conftest import World
from tests.serving.sockets import answer_of

_HOURLY = {"cron": "@hourly"}
_ROWS = "SELECT job_id, enabled, last_data_time FROM scheduled_job ORDER BY job_id"
_DONE = "UPDATE scheduled_job SET last_data_time = '2026-01-08 10:00:00'"


@pytest.mark.parametrize(
    ("rows", "limit", "expected"),
    [(1, None, 10), (200, None, 10), (240, None, 12), (10_000, None, 500), (10_000, 0, 0), (5, 7, 7)],
)
def test_a_tenth_or_a_twentieth_may_go_unless_leave_says_otherwise(
    rows: int, limit: int | None, expected: int
) -> None:
    assert allowed(rows, limit) == expected


_OF_ANOTHER = (
    "INSERT INTO orphaned_row (table_name, job_id, managed_by, found_at)"
    " VALUES ('scheduled_job', 'of-another', 'test/a-namespace-of-another-operator/s/uid', '2026-01-08')"
)


def _vanish(world: World, *names: str, kind: str = "psch") -> None:
    """Vanished: no finalizer, and no operator that would see it."""
    for name in names:
        world.kubectl("patch", kind, name, "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
        world.kubectl("delete", kind, name, PATIENTLY)


async def _made_at(world: World) -> object:
    rows = await world.database.execute("SELECT created_at, last_data_time FROM scheduled_job")
    return [tuple(row) for row in rows]


async def test_the_same_name_under_another_uid_owns_the_same_row(world: World) -> None:
    running = world.start()
    world.apply("PikoSchedule", "s", jobId="job", schedule=_HOURLY)
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    await world.database.execute(_DONE)
    before, uid = await _made_at(world), world.read("psch", "s")["metadata"]["uid"]
    running.kill()
    _vanish(world, "s")
    world.apply("PikoSchedule", "s", jobId="job", schedule={"cron": "@daily"}, driftPolicy="Observe")
    world.start()
    await world.until_condition("psch", "s", "Synced", reason="Synced")
    assert world.read("psch", "s")["metadata"]["uid"] != uid
    await world.until_row("SELECT schedule_expr FROM scheduled_job", [('{"cron":"@daily"}',)])
    assert await _made_at(world) == before
    assert world.condition("psch", "s", "Synced")["status"] == "True"


async def test_who_waits_is_handed_the_row_when_its_owner_goes(world: World) -> None:
    world.start()
    world.apply("PikoSchedule", "first", jobId="job", schedule=_HOURLY)
    await world.until_condition("psch", "first", "Synced", reason="Synced")
    await world.database.execute(_DONE)
    before = await _made_at(world)
    world.apply("PikoSchedule", "second", jobId="job", schedule={"cron": "@daily"})
    await world.until_condition("psch", "second", "Synced", reason="Conflict")
    world.kubectl("delete", "psch", "first", PATIENTLY)
    await world.until_condition("psch", "second", "Synced", reason="Synced")
    await world.until_row("SELECT schedule_expr FROM scheduled_job", [('{"cron":"@daily"}',)])
    assert await _made_at(world) == before, "it is the same row, handed over in one write"
    (message,) = await wait_until_async(lambda: world.events("HandedOver"), what="the event")
    assert f"belonged to test/{world.namespace}/first/" in message

    # What is to be forgotten is not handed over.
    await world.database.execute("INSERT INTO job_state (job_id, status) VALUES ('job', 'Scheduled')")
    world.apply("PikoSchedule", "second", jobId="job", schedule=_HOURLY, deletionPolicy="Forget")
    world.apply("PikoSchedule", "third", jobId="job", schedule=_HOURLY)
    await world.until_condition("psch", "third", "Synced", reason="Conflict")
    world.kubectl("delete", "psch", "second", PATIENTLY)
    await world.until_condition("psch", "third", "Synced", reason="Synced")
    assert await world.database.execute("SELECT job_id FROM job_state") == []
    assert await world.database.execute(_ROWS) == [("job", 1, None)]


async def test_a_row_whose_resource_vanished_is_disabled_and_removed_later(world: World) -> None:
    running = world.start()
    for name in ("stays-away", "comes-back", "moves"):
        world.apply("PikoSchedule", name, jobId=name, schedule=_HOURLY)
        await world.until_condition("psch", name, "Synced", reason="Synced")
    await world.database.execute(_DONE)
    await world.database.execute("INSERT INTO job_state (job_id, status) VALUES ('stays-away', 'Scheduled')")
    await world.database.execute(_OF_ANOTHER)
    running.kill()
    _vanish(world, "stays-away", "comes-back", "moves")
    world.apply("PikoSchedule", "moved", jobId="moves", schedule=_HOURLY)

    running = world.start()
    await world.until_condition("psch", "moved", "Synced", reason="Synced")
    off = "SELECT job_id FROM scheduled_job WHERE enabled = 0 ORDER BY job_id"
    await world.until_row(off, [("comes-back",), ("stays-away",)])
    running.wait_for_line("stays-away.*orphan_disabled")
    world.apply("PikoSchedule", "comes-back", jobId="comes-back", schedule=_HOURLY)
    await world.until_row(off, [("stays-away",)])
    watermarks = "SELECT DISTINCT last_data_time FROM scheduled_job"
    assert len(await world.database.execute(watermarks)) == 1, "none was made again"
    assert running.terminate() == 0

    world.start(PIKO_OPERATOR_ORPHAN_GRACE_S="1")
    await world.until_row("SELECT job_id FROM scheduled_job ORDER BY job_id", [("comes-back",), ("moves",)])
    await world.until_row("SELECT job_id FROM job_state", [("stays-away",)])
    await world.until_row("SELECT job_id FROM orphaned_row", [("of-another",)])


async def test_a_config_whose_resource_vanished_stays_in_force_and_is_removed_later(world: World) -> None:
    running = world.start()
    world.apply("PikoJobConfig", "c", jobId="job", config={"a": 1})
    await world.until_condition("pjc", "c", "Synced", reason="Synced")
    running.kill()
    _vanish(world, "c", kind="pjc")
    running = world.start()
    running.wait_for_line("orphan_found")
    assert await world.database.execute("SELECT config_json FROM job_config") == [('{"a":1}',)]
    assert running.terminate() == 0
    world.start(PIKO_OPERATOR_ORPHAN_GRACE_S="1")
    await world.until_row("SELECT job_id FROM job_config", [])


async def test_rows_of_another_class_in_the_same_database_have_not_vanished(world: World) -> None:
    classes = {name: {"PIKO_OPERATOR_LEASE_NAME": name} for name in ("plain", "blue")}
    classes["blue"] |= {
        "PIKO_OPERATOR_CLASS_NAME": "blue",
        "PIKO_OPERATOR_HTTP_PORT": str(free_port()),
        "PIKO_OPERATOR_ORPHAN_LIMIT": "1",
    }
    plain, blue = (world.start(**settings) for settings in classes.values())
    for name in ("a", "b", "vanished"):
        world.apply("PikoSchedule", name, jobId=name, schedule=_HOURLY)
    for name in ("c", "also-vanished"):
        world.apply("PikoSchedule", name, jobId=name, schedule=_HOURLY, className="blue")
    for name in ("a", "b", "vanished", "c", "also-vanished"):
        await world.until_condition("psch", name, "Synced", reason="Synced")
    for running in (plain, blue):
        running.kill()
    _vanish(world, "vanished", "also-vanished")
    plain, blue = (world.start(**settings) for settings in classes.values())
    off = "SELECT job_id FROM scheduled_job WHERE enabled = 0 ORDER BY job_id"
    await world.until_row(off, [("also-vanished",), ("vanished",)])
    for running in (plain, blue):
        assert "orphans_held" not in running.output


async def test_more_than_a_few_are_not_touched_without_leave(world: World) -> None:
    running = world.start()
    for name in ("a", "b"):
        world.apply("PikoSchedule", name, jobId=name, schedule=_HOURLY)
        await world.until_condition("psch", name, "Synced", reason="Synced")
    running.kill()
    _vanish(world, "a", "b")
    running = world.start(PIKO_OPERATOR_ORPHAN_LIMIT="1")
    said = running.wait_for_line("orphans_held")
    assert "PIKO_OPERATOR_ORPHAN_LIMIT=2" in said
    assert await world.database.execute("SELECT enabled FROM scheduled_job") == [(1,), (1,)]
    await wait_until_async(lambda: _exported(world, "held") == 2, what="the metric behind PikoRowsHeld")
    assert running.terminate() == 0
    world.start(PIKO_OPERATOR_ORPHAN_LIMIT="2")
    await world.until_row("SELECT enabled FROM scheduled_job", [(0,), (0,)])
    await wait_until_async(lambda: _exported(world, "disabled") == 2, what="both to be released")
    assert _exported(world, "held") == 0


def _exported(world: World, state: str) -> float | None:
    """The value of `piko_operator_orphans`; None before the first sweep."""
    text = answer_of(world.port, "/metrics")[1]
    found = re.search(rf'^piko_operator_orphans{{state="{state}"}} (.*)$', text, re.MULTILINE)
    return None if found is None else float(found[1])
