"""What a replica writes in a container is one stream of JSON, and each line of a handler carries its run."""

from __future__ import annotations

import json
from typing import Any

from tests.harness.databases import TestDatabase
from tests.runtime.replicas import Replicas, schedule, until_runs

APP = """
import asyncio, logging, sys, time, traceback
import structlog
from contextlib import asynccontextmanager
from piko import PikoApp
from piko.core.resource import resource

logging.getLogger().addHandler(logging.FileHandler("theirs.log"))
app = PikoApp(name="trial")

def in_a_thread():
    print("thread prints")
    logging.getLogger("mine").warning("thread logs")

def in_a_worker(number):
    print("worker prints")
    print("worker complains", file=sys.stderr)
    logging.getLogger("mine").warning("worker logs")
    structlog.get_logger("mine").warning("worker speaks")
    return number

@resource(scope="app")
@asynccontextmanager
async def shared(ctx):
    logging.getLogger("mine").warning("shared opens")
    yield 1

@app.job(resources={"shared": shared})
async def talks(ctx, scheduled_time, shared):
    print("handler prints")
    print('{"is": "json already"}')
    print("handler complains", file=sys.stderr)
    logging.getLogger("mine").warning("handler logs")
    structlog.get_logger("mine").warning("handler speaks")
    await asyncio.to_thread(in_a_thread)
    await asyncio.create_task(asyncio.to_thread(in_a_thread))
    await app.cpu_manager.map_reduce(in_a_worker, range(2))
    try:
        1 / 0
    except ZeroDivisionError:
        traceback.print_exc()
    print("handler has printed all")
    {}["customer_id"]

if __name__ == "__main__":
    app.run()
"""
SAID = [
    "handler prints", '{"is": "json already"}', "handler complains", "handler logs", "handler speaks",
    "thread prints", "thread logs", "worker prints", "worker complains", "worker logs", "worker speaks",
    "ZeroDivisionError: division by zero",
]  # fmt: skip


async def test_each_line_is_json_and_carries_its_run(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    replica = replicas.start(database.dsn, "app.py", environment={"PIKO_DRAIN_TIMEOUT_S": "600"})
    await replica.until_ready()
    await schedule(database, "talks", max_attempts=2, retry_backoff_s=0.1)
    await until_runs(database, "talks", 2, state="FAILED")
    assert replica.process.terminate() == 0
    events: list[dict[str, Any]] = [json.loads(line) for line in replica.process.output.splitlines()]
    runs = {
        (run_id, attempt) for run_id, attempt in await database.execute("SELECT run_id, attempt FROM job_run")
    }
    for text in SAID:
        reported = [event for event in events if event["event"] == text]
        assert reported, text
        for event in reported:
            assert event["job_id"] == "talks"
            assert (event["run_id"], event["attempt"]) in runs
    logs = await database.execute(
        "SELECT head, tail FROM run_log JOIN job_run USING (run_id) WHERE state = 'FAILED'"
    )
    assert len(logs) >= 2
    said = [text for text in SAID if text.startswith(("handler", "thread", "worker"))]
    for head, tail in logs:
        kept = f"{head}\n{tail or ''}"
        assert [text for text in said if text not in kept] == [], "its threads and worker processes, too"
    (opened,) = [event for event in events if event["event"] == "shared opens"]
    assert "run_id" not in opened, "what outlives the run does not speak for it"

    failed = [event for event in events if event["event"] == "run_finished"]
    for event in failed:
        assert event["level"] == "error"
        assert event["error"] == "KeyError: 'customer_id'"
        assert "Traceback (most recent call last)" in event["exception"]
        assert "in talks" in event["exception"]
    for (error,) in await database.execute("SELECT error FROM job_run WHERE state = 'FAILED'"):
        assert error.startswith("KeyError: 'customer_id'\nTraceback")
    assert "handler logs" in (replicas.folder / "theirs.log").read_text(), "the app's own handler was kept"
