"""Many resources at once: every row is right and no request is wasted. The API server's audit log tells."""

from __future__ import annotations

import os

from benchmarks.resource_world import World
from benchmarks.resources import measure

from tests.harness.control_plane import OwnControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory

_COUNT = int(os.environ.get("PIKO_TEST_RESOURCES", "200"))


async def test_many_resources_cost_three_writes_each_and_a_restart_costs_none(
    own_control_plane: OwnControlPlane, mariadb: TestDatabase, piko_process: PikoProcessFactory
) -> None:
    world = await World.between(own_control_plane, mariadb, piko_process)
    found = await measure(world, _COUNT, idle_s=10)
    assert found["refused"] == [], "no write was refused, neither by a conflict"
    # What was answered too late was perhaps done, and is then not asked for again.
    assert _COUNT - found["too late"] <= found["writes"]["patch pikoschedules"] <= _COUNT, (
        "one finalizer each"
    )
    assert found["writes"]["patch pikoschedules/status"] <= 3 * _COUNT
    assert "create events" not in found["writes"], "nothing was worth an event"
    assert found["writes at idle and restart"] == 0
    assert found["writes for deletions"].keys() == {"patch pikoschedules"}, "nobody reads a status that goes"
