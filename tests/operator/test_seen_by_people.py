"""What a person sees of the operator and a real replica: `kubectl get`, conditions, events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.harness.ports import free_port
from tests.harness.programs import PikoProcessFactory
from tests.harness.waiting import wait_until_async
from tests.operator.conftest import World

_APP = """
from pathlib import Path
from pydantic import BaseModel
from piko import PikoApp

app = PikoApp()

class Config(BaseModel):
    n: int = 1

@app.job("good", schema=Config)
async def good(ctx, scheduled_time):
    pass

@app.job("bad")
async def bad(ctx, scheduled_time):
    if not Path("repaired").exists():
        raise KeyError("customer_id")

@app.job("paused")
async def paused(ctx, scheduled_time):
    pass

app.run()
"""


def _ready_column(world: World, kind: str) -> dict[str, str]:
    """What `kubectl get` shows under READY, by name."""
    header, *lines = world.kubectl("get", kind).splitlines()
    at = header.index("READY")
    return {line.split()[0]: line[at:].split()[0] for line in lines}


async def test_ready_events_and_conditions_say_how_it_goes(
    world: World, piko_process: PikoProcessFactory, tmp_path: Path
) -> None:
    world.start()
    (tmp_path / "app.py").write_text(_APP, encoding="utf-8")
    settings = {"PIKO_MYSQL_DSN": world.database.dsn, "PIKO_HTTP_PORT": str(free_port())}
    piko_process("app.py", cwd=tmp_path, env=settings, name="runtime")
    every = {"interval": {"every": "1s"}}
    world.apply("PikoSchedule", "good", jobId="good", schedule=every)
    world.apply("PikoSchedule", "bad", jobId="bad", schedule=every)
    world.apply("PikoSchedule", "paused", jobId="paused", schedule={"cron": "@hourly"}, suspend=True)
    world.apply("PikoSchedule", "nobody", jobId="nobody", schedule={"cron": "@hourly"})
    world.apply("PikoJobConfig", "good", jobId="good", config={"n": 2})

    expected = {"good": "True", "bad": "True", "paused": "True", "nobody": "False"}
    await wait_until_async(lambda: _ready_column(world, "psch") == expected, what="READY")
    await wait_until_async(lambda: _ready_column(world, "pjc") == {"good": "True"}, what="READY")
    assert world.condition("psch", "nobody", "Reconciling")["reason"] == "Unregistered"
    for kind, name in (("psch", "good"), ("psch", "paused"), ("pjc", "good")):
        assert world.condition(kind, name, "Stalled") == {}
        assert world.condition(kind, name, "Reconciling") == {}

    query = "SELECT COUNT(*) >= 4 FROM job_run WHERE job_id = 'bad' AND state = 'FAILED'"
    await world.until_row(query, [(1,)])
    (failed,) = await wait_until_async(lambda: world.events("JobFailed"), what="the event")
    assert failed.endswith("ended FAILED: KeyError: 'customer_id'"), "and there is one, though many failed"

    def with_five_runs() -> dict[str, Any] | None:
        status: dict[str, Any] = world.read("psch", "bad")["status"]
        return status if len(status.get("recentRuns", [])) == 5 else None

    status = await wait_until_async(with_five_runs, what="five runs in the status")
    assert status["consecutiveFailures"] >= 5
    assert "lastFailureTime" in status
    assert "lastSuccessTime" not in status
    assert {(run["state"], run["message"]) for run in status["recentRuns"]} == {
        ("FAILED", "KeyError: 'customer_id'")
    }
    times = [run["scheduledTime"] for run in status["recentRuns"]]
    assert times == sorted(times, reverse=True)
    (tmp_path / "repaired").touch()
    (recovered,) = await wait_until_async(lambda: world.events("JobRecovered"), what="the event")
    assert " ended SUCCESS, after " in recovered
    await wait_until_async(
        lambda: world.read("psch", "bad")["status"]["consecutiveFailures"] == 0, what="no failures"
    )
    assert len(world.events("JobFailed")) == 1
    posted = json.loads(world.kubectl("get", "events", "-o", "json"))["items"]
    assert {item["reportingComponent"] for item in posted} == {"piko-operator"}

    world.apply("PikoJobConfig", "good", jobId="good", config={"n": "hunter2"})
    await wait_until_async(lambda: _ready_column(world, "pjc") == {"good": "False"}, what="READY")
    assert world.condition("pjc", "good", "Stalled")["status"] == "True"
    await wait_until_async(lambda: world.events("InvalidConfig"), what="the event")
    assert "hunter2" not in json.dumps(world.kubectl("get", "events", "-o", "json"))
    for command in ("get psch", "get psch -o wide", "get pjc -o wide", "get events", "describe psch bad"):
        print(f"$ kubectl {command}\n{world.kubectl(*command.split())}")
