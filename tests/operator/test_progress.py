"""Windows meet although their resource is replaced, moved and applied again: operator and runtime."""

from __future__ import annotations

import json
from pathlib import Path

from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import PATIENTLY
from tests.operator.conftest import World
from tests.runtime.replicas import Replicas, until_runs

_WINDOWS = (
    "SELECT window_start, window_end FROM job_run WHERE job_id = 'windows' AND state = 'SUCCESS' "
    "ORDER BY window_start, run_id"
)
_EACH_SECOND = {"interval": {"every": "1s"}}


async def test_windows_meet_however_their_resource_comes_and_goes(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    replicas = Replicas(start_process=piko_process, folder=tmp_path)
    replicas.write()
    world.start()
    replica = replicas.start(world.database.dsn)
    done = 0

    async def two_more() -> None:
        nonlocal done
        done = len(await until_runs(world.database, "windows", done + 2))

    world.apply("PikoSchedule", "s", jobId="windows", schedule=_EACH_SECOND)
    await two_more()
    uid = world.read("psch", "s")["metadata"]["uid"]

    body = {"apiVersion": "piko.dev/v1", "kind": "PikoSchedule", "metadata": {"name": "s"}}
    spec = {"jobId": "windows", "schedule": _EACH_SECOND}
    world.kubectl("replace", "--force", PATIENTLY, "-f", "-", stdin=json.dumps({**body, "spec": spec}))
    await two_more()
    assert world.read("psch", "s")["metadata"]["uid"] != uid

    world.kubectl("delete", "psch", "s", PATIENTLY)
    await world.until_row("SELECT job_id FROM scheduled_job", [])
    world.apply("PikoSchedule", "moved", jobId="windows", schedule=_EACH_SECOND)
    replica.process.wait_for_line("progress_restored")
    await two_more()

    world.apply("PikoSchedule", "waiting", jobId="windows", schedule=_EACH_SECOND)
    await world.until_condition("psch", "waiting", "Synced", reason="Conflict")
    world.kubectl("delete", "psch", "moved", PATIENTLY)
    await world.until_condition("psch", "waiting", "Synced", reason="Synced")
    await two_more()

    assert replica.process.terminate() == 0
    windows = [tuple(row) for row in await world.database.execute(_WINDOWS)]
    assert [end for _, end in windows[:-1]] == [start for start, _ in windows[1:]]
