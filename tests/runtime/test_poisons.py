"""What one job's code does, at whatever moment and with whatever exception, is that job's trouble alone."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime import poisoned_app
from tests.runtime.replicas import Replicas, until_runs

HARMLESS = {
    "sink_writes",
    "sink_closes",
    "left_task",
    "callback",
    "schema_hook",
    "shared_leaves",
    "stops_the_loop",
    "without_schema",
}
"""Places outside of the run: what is raised there is logged, and the run succeeds."""
WAITS = {"validator", "default", "post_init"}
"""Places where the model itself is made: the job waits for a config that can be."""
JOBS = [job.job_id for job in poisoned_app.app.registry if job.job_id != "innocent"]
WAITING = {job_id for job_id in JOBS if job_id.split("--")[0] in WAITS}
EXPECTED = {
    job_id: "SUCCESS" if job_id.split("--")[0] in HARMLESS else "FAILED"
    for job_id in JOBS
    if job_id not in WAITING
} | {"task_group--CancelledError": "SUCCESS"}  # to asyncio a child that was cancelled is no failure


@pytest.fixture
def folder(replicas: Replicas) -> Path:
    replicas.write(Path(poisoned_app.__file__).read_text())
    return replicas.folder


@pytest.mark.usefixtures("folder")
async def test_no_poison_of_one_job_reaches_another(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replica = replicas.start(database.dsn, "app.py", environment={"PIKO_DRAIN_TIMEOUT_S": "5"})
    await replica.until_ready()
    await _schedule(database, ["innocent"], seconds=1)
    await _schedule(database, JOBS, seconds=500 * 7 * 86_400)  # they run when they are asked, and not before
    await database.execute(
        "INSERT INTO job_run (run_id, job_id, scheduled_time, state, trigger_type) "
        "SELECT MD5(job_id), job_id, '2026-01-01', 'QUEUED', 'manual' FROM scheduled_job "
        "WHERE job_id <> 'innocent'"
    )
    ended = await wait_until_async(lambda: _ended(database), what="an end of each poisoned job")
    wrong = {job: states for job, states in ended.items() if set(states) != {EXPECTED[job]}}
    assert wrong == {}

    waiting = await wait_until_async(
        lambda: _waiting(database), what="the jobs whose model cannot be made to wait"
    )
    for job_id, message in waiting.items():
        assert f"raised {job_id.split('--')[1]}" in message or "raised BaseExceptionGroup" in message

    before = len(await until_runs(database, "innocent", 1))
    await until_runs(database, "innocent", before + 3)
    await replica.until_ready()
    assert replica.process.running
    assert replica.get("/healthz")[0] == 200
    assert not await database.execute("SELECT 1 FROM job_run WHERE job_id = 'innocent' AND state = 'FAILED'")
    assert 'piko_part_restarts_total{part="' not in replica.get("/metrics")[1]
    assert replica.process.terminate() == 0
    assert not await database.execute("SELECT job_id FROM job_run WHERE state = 'RUNNING'")

    events = [json.loads(line) for line in replica.process.output.splitlines()]
    counts = Counter(event["event"] for event in events)
    assert counts["schema_not_published"] == len(poisoned_app.EXCEPTIONS) + 1
    assert counts["event_loop_goes_on"] >= 2
    failed = {event["job_id"]: event for event in events if event["event"] == "run_finished"}
    for job_id, state in EXPECTED.items():
        assert (failed[job_id]["level"] == "error") is (state == "FAILED"), failed[job_id]


async def _schedule(database: TestDatabase, job_ids: list[str], *, seconds: int) -> None:
    rows = ", ".join(f"""('{job_id}', 'interval', '{{"seconds": {seconds}}}')""" for job_id in job_ids)
    await database.execute(f"INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr) VALUES {rows}")


async def _ended(database: TestDatabase) -> dict[str, list[str]] | None:
    found: dict[str, list[str]] = defaultdict(list)
    rows: list[Any] = await database.execute(
        "SELECT job_id, state FROM job_run WHERE trigger_type = 'manual' AND finished_at IS NOT NULL"
    )
    for job_id, state in rows:
        found[job_id].append(state)
    return dict(found) if found.keys() >= EXPECTED.keys() else None


async def _waiting(database: TestDatabase) -> dict[str, str] | None:
    rows = await database.execute("SELECT job_id, message FROM job_state WHERE status = 'WaitingForConfig'")
    return dict(map(tuple, rows)) if {job_id for job_id, _ in rows} == WAITING else None
