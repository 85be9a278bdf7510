"""Retries and timeouts, as a replica makes them: each attempt is a row that can be read."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import LONG_AGO, Replicas, schedule

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
    await asyncio.sleep(3600)

@app.job(job_id="row_wins", timeout_s=0.1, max_attempts=5)  # the row has ten minutes
async def row_wins(ctx, scheduled_time):
    await asyncio.sleep(0.3)

@app.job(job_id="once")
async def once(ctx, scheduled_time):
    raise ValueError("no second attempt")
"""
ONE_DUE_TIME = '{"hours": 100, "start_date": "%s"}'


async def test_attempts_backoff_and_timeouts_of_rows_and_of_code(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    replicas.write(APP)
    ((now,),) = await database.execute("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%d %T')")
    due: dict[str, Any] = {"expression": ONE_DUE_TIME % now, "updated_at": LONG_AGO}
    retries: dict[str, Any] = {"max_attempts": 4, "retry_backoff_s": 0.6, "retry_max_backoff_s": 0.9}
    await schedule(database, "by_row", **due, **retries)
    await schedule(database, "by_code", **due, retry_backoff_s=0.1)
    await schedule(database, "row_wins", **due, timeout_s=600, max_attempts=1)
    await schedule(database, "once", **due)
    replicas.start(database.dsn)

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
    for earlier, later, backoff_s in ((first, second, 0.6), (second, third, 0.9)):
        waits_s = (later["not_before"] - earlier["finished_at"]).total_seconds()
        assert waits_s == pytest.approx(backoff_s, abs=0.001), "doubled, up to the maximum"
        assert later["started_at"] >= later["not_before"]
    assert first["error"].startswith("ValueError: attempt 1 of by_row@")
    assert first["error_type"] == "ValueError"
    assert "the handler ran longer than timeout_s = 0.2" in rows["by_code"][0]["error"]
    assert 0.2 <= rows["by_code"][0]["duration_s"] < 3600, "its handler did not end by itself"
    locks = await database.execute("SELECT job_id, run_id FROM job_lock")
    assert dict(map(tuple, locks)) == {job_id: of_job[-1]["run_id"] for job_id, of_job in rows.items()}
    failures = await database.execute("SELECT job_id, consecutive_failures FROM job_state")
    assert dict(map(tuple, failures)) == {"by_row": 0, "by_code": 2, "row_wins": 0, "once": 1}


async def _until_states(
    database: TestDatabase, expected: dict[str, list[str]]
) -> dict[str, list[dict[str, Any]]]:
    names = (
        "job_id", "run_id", "attempt", "state", "scheduled_time", "trigger_type", "not_before", "started_at",
        "finished_at", "duration_s", "error_type", "error",
    )  # fmt: skip

    async def reached() -> dict[str, list[dict[str, Any]]] | None:
        found: dict[str, list[dict[str, Any]]] = {}
        for row in await database.execute(f"SELECT {', '.join(names)} FROM job_run ORDER BY job_id, attempt"):
            found.setdefault(row[0], []).append(dict(zip(names, row, strict=True)))
        states = {job_id: [row["state"] for row in of_job] for job_id, of_job in found.items()}
        return found if states == expected else None

    return await wait_until_async(reached, what=f"these attempts: {expected}")
