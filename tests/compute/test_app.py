"""The CPU pool within an app: however it is started, and how it ends with it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.harness.programs import PikoProcessFactory
from tests.runtime.replicas import Replicas, runs, schedule, until_runs
from tests.runtime.test_life import COMMANDS

APP = """
import os, time
from piko import PikoApp

app = PikoApp(name="computing")
api_app = app.api_app
print("module runs in", os.getpid(), flush=True)
FACTOR = 3

def times(number):
    return number * FACTOR

def slowly(number):
    print("slowly begins", flush=True)
    time.sleep(float(os.environ.get("SLOWLY_S", "1.5")))
    return number

@app.job(job_id="compute")
async def compute(ctx, scheduled_time):
    print("computed", await app.cpu_manager.map_reduce(times, range(5)), flush=True)
    print("closure", await app.cpu_manager.submit(lambda: FACTOR), flush=True)

@app.job(job_id="slow")
async def slow(ctx, scheduled_time):
    print("slow result", await app.cpu_manager.submit(slowly, 4), flush=True)

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture
async def replicas(piko_process: PikoProcessFactory, tmp_path: Path, sqlite: TestDatabase) -> Replicas:
    await upgrade(sqlite.dsn)
    folder = tmp_path / "app"
    folder.mkdir()
    starter = Replicas(start_process=piko_process, folder=folder)
    starter.write(APP)
    return starter


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
async def test_a_handler_computes_however_the_app_is_started(
    command: tuple[str, ...], replicas: Replicas, sqlite: TestDatabase
) -> None:
    await schedule(sqlite, "compute")
    replica = replicas.start(sqlite.dsn, *command, environment={"PIKO_LOG_FORMAT": "text"})
    assert replica.process.wait_for_line("^computed") == "computed [0, 3, 6, 9, 12]"
    assert replica.process.wait_for_line("^closure") == "closure 3"
    await until_runs(sqlite, "compute", 1)
    assert (
        "piko_cpu_workers 1.0" in replica.get("/metrics")[1]
        or "piko_cpu_workers 2.0" in replica.get("/metrics")[1]
    )
    replica.process.terminate()
    assert "Traceback" not in replica.process.output
    if command == ("app.py",):
        assert replica.process.output.count("module runs") == 1


async def test_a_stop_lets_a_computation_finish_before_the_workers_end(
    replicas: Replicas, sqlite: TestDatabase
) -> None:
    await schedule(sqlite, "slow", '{"seconds": 2}')
    replica = replicas.start(sqlite.dsn, "app.py")
    replica.process.wait_for_line("slowly begins")
    assert replica.process.terminate() == 0
    assert "slow result 4" in replica.process.output
    assert len(await runs(sqlite, "slow", "SUCCESS")) >= 1


async def test_a_stop_whose_budget_is_over_ends_the_computation(
    replicas: Replicas, sqlite: TestDatabase
) -> None:
    await schedule(sqlite, "slow", '{"seconds": 2}')
    environment = {"PIKO_DRAIN_TIMEOUT_S": "0.1", "SLOWLY_S": "3600"}
    replica = replicas.start(sqlite.dsn, "app.py", environment=environment)
    replica.process.wait_for_line("slowly begins")
    replica.process.signal(signal.SIGTERM)
    assert replica.process.wait() == 0
    assert "slow result" not in replica.process.output
    states = [state for _, state, _ in await runs(sqlite, "slow")]
    assert {"CANCELLED", "QUEUED"} & set(states), states
