"""The table of the mirror, line by line, for many jobs at once: watermark and cursor stay as they were.

`PIKO_TEST_MIRRORED` says how many jobs go through each line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.harness.processes import ChildProcess
from tests.harness.waiting import PATIENTLY, wait_until_async
from tests.operator.conftest import World

_COUNT = int(os.environ.get("PIKO_TEST_MIRRORED", "10"))
_NAMES = [f"job-{number:03}" for number in range(_COUNT)]
_SECONDS = [f"second-{name}" for name in _NAMES]
_FOREIGN = "2f1e7d0a-0000-4000-8000-000000000000"
_DONE, _CURSOR = "'2026-01-08 10:00:00.123456'", "'2026-01-08 11:00:00.654321'"
_KEPT = "SELECT job_id, cursor_at, data_through FROM job_state ORDER BY job_id"
_MADE = "SELECT job_id, created_at, last_data_time FROM scheduled_job ORDER BY job_id"
_OWNERS = "SELECT managed_by FROM scheduled_job ORDER BY job_id"


@dataclass(slots=True)
class Fleet:
    """Resources of many jobs, and the operator that mirrors them."""

    world: World
    operator: ChildProcess

    def start(self, **settings: str) -> None:
        """Start the operator, which may sweep every row."""
        self.operator = self.world.start(PIKO_OPERATOR_ORPHAN_LIMIT=str(_COUNT), **settings)

    def stop(self) -> None:
        assert self.operator.terminate() == 0

    def apply(self, names: Sequence[str] = _NAMES, **spec: Any) -> None:
        """Apply a resource for each job."""
        items = [
            {
                "apiVersion": "piko.dev/v1",
                "kind": "PikoSchedule",
                "metadata": {"name": name},
                "spec": {"jobId": job_id, "schedule": {"cron": "@hourly"}, **spec},
            }
            for name, job_id in zip(names, _NAMES, strict=True)
        ]
        body = {"apiVersion": "v1", "kind": "List", "items": items}
        self.world.kubectl("apply", "-f", "-", stdin=json.dumps(body))

    async def applied(self, *, names: Sequence[str] = _NAMES, reason: str = "Synced", **spec: Any) -> None:
        """Apply a resource for each job, and wait until each says `reason`."""
        self.apply(names, **spec)
        await self.until(reason, names)

    async def until(self, reason: str, names: Sequence[str] = _NAMES) -> None:
        """Wait until Synced has that reason, of each resource and for its present spec."""

        def reached() -> bool:
            found = self._reasons()
            return all(found.get(name) == reason for name in names)

        await wait_until_async(reached, what=f"{len(names)} resources to be {reason}")

    def _reasons(self) -> dict[str, str]:
        items = json.loads(self.world.kubectl("get", "psch", "-o", "json"))["items"]
        return {
            item["metadata"]["name"]: condition["reason"]
            for item in items
            for condition in item["status"].get("conditions", ())
            if condition["type"] == "Synced"
            and condition["observedGeneration"] == item["metadata"]["generation"]
        }

    def deleted(self, names: Sequence[str] = _NAMES) -> None:
        """Delete resources in order, with their finalizers."""
        self.world.kubectl("delete", "psch", *names, PATIENTLY)

    def vanish(self, names: Sequence[str] = _NAMES) -> None:
        """Delete them without a word: no finalizer, and no operator that would see it."""
        patch = '{"metadata":{"finalizers":null}}'
        self.world.kubectl("patch", "psch", *names, "--type=merge", "-p", patch)
        self.deleted(names)

    async def rows(self, query: str) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in await self.world.database.execute(query)]

    async def until_each(self, column: str, value: Any) -> None:
        """Wait until the column of each row has the value."""
        await self.world.until_row(f"SELECT DISTINCT {column} FROM scheduled_job", [(value,)])


async def test_every_line_of_the_table_leaves_watermark_and_cursor_as_they_were(world: World) -> None:
    fleet = Fleet(world, world.start(PIKO_OPERATOR_ORPHAN_LIMIT=str(_COUNT)))
    execute = world.database.execute
    await fleet.applied()  # no row
    await execute(f"UPDATE scheduled_job SET last_data_time = {_DONE}")
    await execute(
        "INSERT INTO job_state (job_id, status, cursor_at, data_through) "
        f"SELECT job_id, 'Scheduled', {_CURSOR}, {_DONE} FROM scheduled_job"
    )
    made, kept = await fleet.rows(_MADE), await fleet.rows(_KEPT)
    assert len(made) == len(kept) == _COUNT

    async def unchanged(line: str) -> None:
        assert await fleet.rows(_MADE) == made, f"{line}: they are the same rows with the same watermarks"
        assert await fleet.rows(_KEPT) == kept, f"{line}: the cursors are the same"

    for line in (
        _edited_by_sql,
        _suspended,
        _owned_by_sql,
        _owned_by_another,
        _moved,
        _restored,
        _vanished,
        _in_a_second_cluster,
        _disabled,
    ):
        await line(fleet)
        await unchanged(line.__name__)

    await fleet.applied(deletionPolicy="Delete", adoptionPolicy="Adopt")
    fleet.deleted()
    assert await fleet.rows(_MADE) == []
    assert await fleet.rows(_KEPT) == kept, "progress outlives the row"


async def _edited_by_sql(fleet: Fleet) -> None:
    execute = fleet.world.database.execute
    await execute("UPDATE scheduled_job SET priority = 7")
    await fleet.until_each("priority", 0)
    await fleet.applied(driftPolicy="Observe")
    await execute("UPDATE scheduled_job SET priority = 7")
    await fleet.until("Drifted")
    assert await fleet.rows("SELECT DISTINCT priority FROM scheduled_job") == [(7,)]
    await fleet.applied(driftPolicy="Enforce")
    await fleet.until_each("priority", 0)


async def _suspended(fleet: Fleet) -> None:
    for suspend in (True, False):
        await fleet.applied(suspend=suspend)
        await fleet.until_each("enabled", int(not suspend))


async def _owned_by_sql(fleet: Fleet) -> None:
    await fleet.applied(deletionPolicy="Retain")
    fleet.deleted()
    assert set(await fleet.rows(_OWNERS)) == {(None,)}
    await fleet.applied(reason="RowNotManaged", priority=5)
    assert await fleet.rows("SELECT DISTINCT managed_by, priority FROM scheduled_job") == [(None, 0)]
    await fleet.applied(adoptionPolicy="Adopt")
    assert (None,) not in await fleet.rows(_OWNERS)


async def _owned_by_another(fleet: Fleet) -> None:
    before = await fleet.rows("SELECT job_id, version, managed_by FROM scheduled_job ORDER BY job_id")
    await fleet.applied(names=_SECONDS, reason="Conflict", priority=5)
    fleet.deleted(_SECONDS)
    after = await fleet.rows("SELECT job_id, version, managed_by FROM scheduled_job ORDER BY job_id")
    assert after == before, "deleting the loser touches nothing"


async def _moved(fleet: Fleet) -> None:
    await fleet.applied(names=_SECONDS, reason="Conflict")
    fleet.deleted()
    await fleet.until("Synced", _SECONDS)
    assert all("/second-job-" in owner for (owner,) in await fleet.rows(_OWNERS))
    await fleet.applied(reason="Conflict")
    fleet.deleted(_SECONDS)
    await fleet.until("Synced")


async def _restored(fleet: Fleet) -> None:
    before = await fleet.rows(_OWNERS)
    fleet.stop()
    fleet.vanish()
    fleet.apply(priority=3)
    fleet.start()
    await fleet.until("Synced")
    await fleet.until_each("priority", 3)
    after = await fleet.rows(_OWNERS)
    assert not set(before) & set(after), "each has another uid"
    assert [owner.rpartition("/")[0] for (owner,) in before] == [
        owner.rpartition("/")[0] for (owner,) in after
    ]


async def _vanished(fleet: Fleet) -> None:
    fleet.stop()
    fleet.vanish()
    fleet.start()
    await fleet.until_each("enabled", 0)
    await fleet.applied()
    await fleet.until_each("enabled", 1)


async def _in_a_second_cluster(fleet: Fleet) -> None:
    execute = fleet.world.database.execute
    fleet.stop()
    before = await fleet.rows("SELECT job_id, version, managed_by FROM scheduled_job ORDER BY job_id")
    await execute(f"UPDATE operator_cluster SET uid = '{_FOREIGN}'")
    fleet.vanish()
    fleet.start()
    fleet.operator.wait_for_line("cluster_not_identified")
    await fleet.applied(reason="ClusterNameTaken", priority=9)
    after = await fleet.rows("SELECT job_id, version, managed_by FROM scheduled_job ORDER BY job_id")
    assert after == before, "it writes and removes nothing"
    await execute("DELETE FROM operator_cluster")
    await fleet.until("Synced")


async def _disabled(fleet: Fleet) -> None:
    await fleet.applied(deletionPolicy="Disable")
    fleet.deleted()
    await fleet.until_each("enabled", 0)
