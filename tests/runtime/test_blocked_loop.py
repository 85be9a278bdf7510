"""A handler that blocks the event loop: it is named, probes go on answering, and the fence holds."""

from __future__ import annotations

import json
from typing import Any

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replica, Replicas, leader_of, runs, schedule, times_run_twice, until_runs

APP = """
import os, threading, time
from piko import PikoApp

app = PikoApp(name="trial")
api_app = app.api_app
main = threading.get_ident()

@api_app.get("/mine")
async def mine():
    return {"in_the_thread_of_the_jobs": threading.get_ident() == main}

@app.job(job_id="quick")
async def quick(ctx, scheduled_time):
    pass

@app.job(job_id="blocks")
async def blocks(ctx, scheduled_time):
    if not os.path.exists("blocked"):
        a_call_that_takes_long()

def a_call_that_takes_long():
    open("blocked", "w").close()
    print("blocks now", flush=True)
    while not os.path.exists("set free"):
        time.sleep(0.05)
"""


def events(replica: Replica, name: str) -> list[dict[str, Any]]:
    """Those about the job that blocks: a busy machine may let the event loop wait at another time, too."""
    lines = (line for line in replica.process.output.splitlines() if line.startswith("{"))
    found = [event for event in map(json.loads, lines) if event["event"] == name]
    return [event for event in found if event.get("job_id") == "blocks"]


async def test_a_blocked_event_loop_is_named_answers_probes_and_is_fenced(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    # The probe stays green however long a busy machine takes to make the other one the leader.
    environment = {"PIKO_LOG_FORMAT": "json", "PIKO_BLOCKED_LOOP_FATAL_S": "3600"}
    pair = [replicas.start(database.dsn, name=name, environment=environment) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    await schedule(database, "quick", coalesce=0)
    await until_runs(database, "quick", 1)
    await schedule(database, "blocks", '{"seconds": 1}', max_attempts=2)
    leader.process.wait_for_line("blocks now")
    (begun,) = await wait_until_async(
        lambda: events(leader, "event_loop_blocked"), what="the handler to be named"
    )
    assert begun["job_id"] == "blocks"
    assert "a_call_that_takes_long" in begun["stack"]
    assert "await" in begun["remedy"]
    await standby.until_ready("leader")
    assert leader.get("/healthz") == (200, "ok\n")
    status, why = leader.get("/readyz")
    assert (status, f"by job blocks, run {begun['run_id']}" in why) == (503, True)
    assert 'piko_event_loop_blocked_total{job_id="blocks"} 1.0' in leader.get("/metrics")[1]
    (replicas.folder / "set free").touch()
    (ended,) = await wait_until_async(
        lambda: events(leader, "event_loop_free"), what="the event loop to turn again"
    )
    assert ended["blocked_s"] > begun["blocked_s"]
    await leader.until_ready("standby")

    async def recorded() -> list[Any]:
        return await database.execute(
            "SELECT state FROM job_run WHERE state = 'RUNNING' AND job_id = 'blocks'"
        )

    async def none_is_stuck() -> bool:
        return not await recorded()

    await wait_until_async(none_is_stuck, what="the run that blocked to be given up")
    blocked = f"SELECT state, attempt FROM job_run WHERE run_id = '{begun['run_id']}'"
    assert [tuple(row) for row in await database.execute(blocked)] == [("LOST", 1)]
    before = len(await runs(database, "quick", "SUCCESS"))
    done = await until_runs(database, "quick", before + 2)
    assert times_run_twice(done) == []


async def test_a_loop_that_stays_blocked_turns_liveness_red(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    replicas.write(APP)
    replica = replicas.start(migrated_mariadb.dsn, environment={"PIKO_BLOCKED_LOOP_FATAL_S": "2"})
    await replica.until_ready()
    assert replica.get("/mine") == (200, '{"in_the_thread_of_the_jobs":true}')
    assert replica.get("/nothing")[0] == 404
    await schedule(migrated_mariadb, "blocks")
    replica.process.wait_for_line("blocks now")
    await replica.until("/healthz", 503, "the event loop of the jobs has been blocked for")
    replica.process.kill()
