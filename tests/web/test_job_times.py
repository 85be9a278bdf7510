"""When a job is due, its windows with their runs, and what a schedule would do."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.harness.databases import TestDatabase
from tests.web.rows import add_definition, add_jobs

_RANGE = {"since": "2026-01-08T00:00:00Z", "until": "2026-01-08T05:00:00Z"}


async def walk(web: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every item of a list, two at a time."""
    found: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    for _ in range(20):
        answer = await web.get(path, params={**query, "limit": 2, **cursor})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        if answer.json()["next"] is None:
            return found
        cursor = {"cursor": answer.json()["next"]}
    raise AssertionError(f"{path} does not end")


async def test_due_times_between_two_instants_are_each_on_one_page(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    found = await walk(web, "/api/v1/jobs/a/schedule", **_RANGE)
    assert [due["instant"] for due in found] == [f"2026-01-08T0{hour}:00:00Z" for hour in range(5)]


async def test_each_window_has_its_newest_run_and_says_whether_it_is_done(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a", stateful=True)
    await emptied_database.execute("UPDATE scheduled_job SET last_data_time = '2026-01-08 02:00:00'")
    times = "'2026-01-08 03:00:00', '2026-01-08 02:00:00', '2026-01-08 03:00:00'"
    await emptied_database.execute(
        "INSERT INTO job_run (run_id, job_id, state, attempt, scheduled_time, window_start, window_end) "
        f"VALUES ('run-1', 'a', 'FAILED', 1, {times}), ('run-2', 'a', 'RUNNING', 2, {times})"
    )
    found = (
        await web.get("/api/v1/jobs/a/windows", params={"until": "2026-01-08T03:30:00Z", "limit": 3})
    ).json()["items"]
    assert [(window["start"][11:16], window["done"]) for window in found] == [
        ("02:00", False),
        ("01:00", True),
        ("00:00", True),
    ]
    assert [window["run"] and window["run"]["run_id"] for window in found] == ["run-2", None, None]


@pytest.mark.parametrize("what", ["windows", "watermark"])
async def test_a_stateless_job_has_no_windows(
    web: httpx.AsyncClient, emptied_database: TestDatabase, what: str
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a")
    answer = await web.get(f"/api/v1/jobs/a/{what}")
    assert answer.status_code == 409
    assert "stateless" in answer.json()["detail"]


async def test_a_watermark_says_which_windows_run_next_and_moves_nothing(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    await add_definition(emptied_database, "a", stateful=True)
    none = (await web.get("/api/v1/jobs/a/watermark")).json()
    assert (none["watermark"], none["windows"], none["first_window_start"]) == (None, 0, None)
    await emptied_database.execute("UPDATE scheduled_job SET last_data_time = '1990-01-01 00:30:00'")
    old = (await web.get("/api/v1/jobs/a/watermark")).json()
    assert old["windows"] > 24 * 365 * 36, "each is counted, and none of them is gone through"
    assert (old["before"], old["first_window_start"]) == (old["watermark"], "1990-01-01T00:30:00Z")
    assert (old["last_window_end"][14:], old["changed"]) == ("00:00Z", False)
    await emptied_database.execute("UPDATE scheduled_job SET last_data_time = '2999-01-01 00:00:00'")
    assert (await web.get("/api/v1/jobs/a/watermark")).json()["windows"] == 0


async def test_a_plan_says_what_a_schedule_would_do(acting: httpx.AsyncClient) -> None:
    asked = {
        "schedule_type": "cron",
        "schedule_expr": "0 * * * *",
        "timezone": "Asia/Shanghai",
        "after": "2026-01-08T00:00:00Z",
    }
    planned = (await acting.post("/api/v1/schedules:plan", json=asked)).json()
    assert planned["runs_per_week"] == 168
    assert planned["instants"][0] == {
        "instant": "2026-01-08T01:00:00Z",
        "local": "2026-01-08T09:00:00+08:00",
    }
    assert "Asia/Shanghai" in planned["sentence"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schedule_expr": "0 * * *"}, "has 4 fields; expected five fields"),
        ({"timezone": "Nowhere/Land"}, "Nowhere/Land"),
        ({"schedule_type": "sometimes"}, "cron, interval, date"),
        ({"after": "9999-12-31T23:59:59-12:00"}, "expected an instant from 1970 to 9999"),
        ({"after": "0001-01-01T00:00:00Z"}, "expected an instant from 1970 to 9999"),
        ({"expression": "x"}, "field expression"),
    ],
)
async def test_a_plan_of_what_cannot_be_says_what_is_wrong(
    acting: httpx.AsyncClient, wrong: dict[str, Any], said: str
) -> None:
    asked = {"schedule_type": "cron", "schedule_expr": "0 * * * *", **wrong}
    answer = await acting.post("/api/v1/schedules:plan", json=asked)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


@pytest.mark.parametrize("moment", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00Z"])
async def test_an_instant_that_no_table_can_hold_is_refused(web: httpx.AsyncClient, moment: str) -> None:
    answer = await web.get("/api/v1/runs", params={"since": moment})
    assert answer.status_code == 422
    assert "expected an instant from 1970 to 9999" in answer.json()["detail"]
