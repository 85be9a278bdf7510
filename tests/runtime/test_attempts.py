"""Retries and timeouts, as a replica makes them: each attempt is a row that can be read."""

from __future__ import annotations

from typing import Any

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import Replicas, schedule

APP = """
import asyncio
from piko import PikoApp

app = PikoApp(name="trial")

@app.job(job_id="by_row")
async def by_row(ctx, scheduled_time):
    if ctx["attempt"] < 3:
        raise ValueError(f"attempt {ctx['attempt']} of {ctx['idempotency_key']}")

@app.job(job_id="by_code", timeout_s=0.2, max_attempts=2)
async def by_code(ctx, scheduled_time):
    await asyncio.sleep(60)

@app.job(job_id="row_wins", timeout_s=0.1, max_attempts=5)
async def row_wins(ctx, scheduled_time):
    await asyncio.sleep(0.3)

@app.job(job_id="once")
async def once(ctx, scheduled_time):
    raise ValueError("no second attempt")
"""
ONE_DUE_TIME = '{"hours": 1, "start_date": "%s"}'


async def test_attempts_backoff_and_timeouts_of_rows_and_of_code(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    replica = replicas.start(database.dsn)
    await replica.until_ready()
    now = (await database.execute("SELECT DATE_FORMAT(UTC_TIMESTAMP() + INTERVAL 2 SECOND, '%Y-%m-%d %T')"))[
        0
    ][0]
    grid = ONE_DUE_TIME % now
    await schedule(database, "by_row", grid, max_attempts=4, retry_backoff_s=0.6, retry_max_backoff_s=0.9)
    await schedule(database, "by_code", grid, retry_backoff_s=0.1)
    await schedule(database, "row_wins", grid, timeout_s=5, max_attempts=1)
    await schedule(database, "once", grid)

    rows = await _until_states(
        database,
        {
            "by_row": ["FAILED", "FAILED", "SUCCESS"],
            "by_code": ["TIMEOUT", "TIMEOUT"],
            "row_wins": ["SUCCESS"],
            "once": ["FAILED"],
        },
    )
    for of_job in rows.values():
        assert [row["attempt"] for row in of_job] == list(range(1, len(of_job) + 1))
        assert len({row["scheduled_time"] for row in of_job}) == 1
        assert len({row["run_id"] for row in of_job}) == len(of_job)
        assert [row["trigger_type"] for row in of_job] == ["schedule", *["retry"] * (len(of_job) - 1)]
    first, second, third = rows["by_row"]
    assert 0.6 <= (second["started_at"] - first["finished_at"]).total_seconds() < 3
    assert 0.9 <= (third["started_at"] - second["finished_at"]).total_seconds() < 3, (
        "doubled, up to the maximum"
    )
    assert first["error"].startswith("ValueError: attempt 1 of by_row@")
    assert first["error_type"] == "ValueError"
    assert "the handler ran longer than timeout_s = 0.2" in rows["by_code"][0]["error"]
    assert 0.2 <= rows["by_code"][0]["duration_s"] < 2
    locks = await database.execute("SELECT job_id, run_id FROM job_lock")
    assert dict(map(tuple, locks)) == {job_id: of_job[-1]["run_id"] for job_id, of_job in rows.items()}
    failures = await database.execute("SELECT job_id, consecutive_failures FROM job_state")
    assert dict(map(tuple, failures)) == {"by_row": 0, "by_code": 2, "row_wins": 0, "once": 1}


async def _until_states(
    database: TestDatabase, expected: dict[str, list[str]]
) -> dict[str, list[dict[str, Any]]]:
    names = (
        "job_id", "run_id", "attempt", "state", "scheduled_time", "trigger_type", "started_at", "finished_at",
        "duration_s", "error_type", "error",
    )  # fmt: skip

    async def reached() -> dict[str, list[dict[str, Any]]] | None:
        found: dict[str, list[dict[str, Any]]] = {}
        for row in await database.execute(f"SELECT {', '.join(names)} FROM job_run ORDER BY job_id, attempt"):
            found.setdefault(row[0], []).append(dict(zip(names, row, strict=True)))
        states = {job_id: [row["state"] for row in of_job] for job_id, of_job in found.items()}
        return found if states == expected else None

    return await wait_until_async(reached, what=f"these attempts: {expected}")
