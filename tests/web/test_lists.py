"""Lists are cut by key: every item once, in order, whatever the filters; and what is wrong is said."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from piko.store.reports import runs
from tests.harness.databases import TestDatabase
from tests.web.rows import add_jobs, add_runs, add_states

_NOW = datetime.now(UTC)
_STATES = {
    "early": ("Scheduled", _NOW + timedelta(days=1), 0),
    "failing": ("Scheduled", _NOW + timedelta(days=2), 3),
    "late": ("Scheduled", _NOW - timedelta(days=1), 0),
    "never": ("Completed", None, 0),
    "wrong": ("Invalid", None, 1),
}


@pytest.fixture
async def jobs(emptied_database: TestDatabase) -> TestDatabase:
    await add_jobs(emptied_database, "early", "failing", "never", "unseen", "wrong")
    await add_jobs(emptied_database, "late", owner="prod/data/late/uid")
    await add_states(emptied_database, _STATES)
    return emptied_database


async def walk(web: httpx.AsyncClient, path: str, **query: Any) -> list[dict[str, Any]]:
    """Every item of a list, a page of two at a time."""
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


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, ["early", "failing", "late", "never", "unseen", "wrong"]),
        ({"sort": "next"}, ["late", "early", "failing", "never", "unseen", "wrong"]),
        ({"sort": "failures"}, ["failing", "wrong", "early", "late", "never", "unseen"]),
        ({"late": "true"}, ["late"]),
        ({"late": "false"}, ["early", "failing", "never", "unseen", "wrong"]),
        ({"failing": "true"}, ["failing", "wrong"]),
        ({"failing": "false"}, ["early", "late", "never", "unseen"]),
        ({"state": ["Invalid", "Completed"]}, ["never", "wrong"]),
        ({"text": "a"}, ["early", "failing", "late"]),
        ({"text": "%"}, []),
        ({"owner": "resource"}, ["late"]),
        ({"owner": "sql", "failing": "true"}, ["failing", "wrong"]),
        ({"namespace": "data"}, ["late"]),
        ({"namespace": "dat"}, []),
    ],
)
@pytest.mark.usefixtures("jobs")
async def test_pages_hold_each_job_that_passes_once_and_in_order(
    web: httpx.AsyncClient, query: dict[str, Any], expected: list[str]
) -> None:
    assert [job["job_id"] for job in await walk(web, "/api/v1/jobs", **query)] == expected
    total = await web.get("/api/v1/jobs", params={**query, "total": "true", "limit": 1})
    assert total.json()["total"] == len(expected)


@pytest.mark.usefixtures("jobs")
async def test_counters_say_how_many_jobs_a_list_has(web: httpx.AsyncClient) -> None:
    counts = (await web.get("/api/v1/jobs:counts")).json()
    assert counts == {
        "jobs": 6,
        "late": 1,
        "failing": 2,
        "waiting": 0,
        "invalid": 1,
        "unregistered": 0,
        "disabled": 0,
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"state": "FAILED"}, [3, 1]),
        ({"state": ["FAILED", "RUNNING"]}, [4, 3, 1]),
        ({"job": "a", "state": "SUCCESS"}, [2, 0]),
        ({"job": "a", "since": "2026-01-08T00:01:00Z", "until": "2026-01-08T08:03:00+08:00"}, [2, 1]),
    ],
)
async def test_pages_hold_each_run_that_passes_the_newest_first(
    web: httpx.AsyncClient, emptied_database: TestDatabase, query: dict[str, Any], expected: list[int]
) -> None:
    ids = await add_runs(emptied_database, "a", ["SUCCESS", "FAILED", "SUCCESS", "FAILED", "RUNNING"])
    found = [run["run_id"] for run in await walk(web, "/api/v1/runs", **query)]
    assert found == [ids[number] for number in expected]
    assert (await web.get("/api/v1/runs:counts")).json() == {"running": 1, "queued": 0, "missed": 0}


async def test_runs_of_one_due_time_are_each_on_one_page(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    for number in range(5):
        await add_runs(emptied_database, f"job-{number}", ["SUCCESS"], prefix=f"run-{number}")
    found = [run["job_id"] for run in await walk(web, "/api/v1/runs")]
    assert found == [f"job-{number}" for number in (4, 3, 2, 1, 0)]


async def test_a_page_that_has_looked_far_enough_is_short_and_leads_on(
    web: httpx.AsyncClient, emptied_database: TestDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LOOKED", 4)
    await add_jobs(emptied_database, "a")
    states = ["SUCCESS"] * 11
    states[1] = states[9] = "FAILED"
    ids = await add_runs(emptied_database, "a", states)
    wanted = {"job": "a", "state": "FAILED"}
    first = (await web.get("/api/v1/runs", params=wanted)).json()
    assert [run["run_id"] for run in first["items"]] == [ids[9]]
    second = (await web.get("/api/v1/runs", params={**wanted, "cursor": first["next"]})).json()
    assert (second["items"], second["next"] is None) == ([], False)
    page = await web.get("/runs", params={**wanted, "cursor": first["next"]})
    assert "None of the 4 newest runs from here on passes these filters" in page.text
    assert 'rel="next"' in page.text
    assert [run["run_id"] for run in await walk(web, "/api/v1/runs", **wanted)] == [ids[9], ids[1]]


def _cursor(**held: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(held).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/jobs?stat=Invalid", 422, "did you mean `state`?"),
        ("/jobs?state=Broken", 422, "'Scheduled', 'Disabled'"),
        ("/jobs?limit=0", 422, "greater than or equal to 1"),
        ("/runs?since=yesterday", 422, "filter since = 'yesterday'"),
        ("/runs?since=2026-01-08T00:00:00", 422, "timezone"),
        ("/jobs?cursor=nonsense", 400, "not one that Piko made"),
        (f"/jobs?cursor={_cursor(v=0, k=['a'], f='x')}", 400, "it is of version 0, and this release has 1"),
        (f"/runs?cursor={_cursor(v=1, k=['a'], f='x')}", 400, "it belongs to other filters"),
        ("/jobs/a/b", 404, "The id of a job has no `/`"),
        ("/jobs/a%2Fb", 404, "The id of a job has no `/`"),
        ("/jobs/lat", 404, "did you mean `late`?"),
        ("/jobs/sp%20ace", 422, "String should match pattern"),
        ("/runs?job=lat", 404, "did you mean `late`?"),
        ("/runs/none", 404, "no run 'none' in job_run"),
        ("/nothing", 404, "/api/v1/openapi.json lists what there is"),
    ],
)
@pytest.mark.usefixtures("jobs")
async def test_what_cannot_be_answered_says_what_is_right(
    web: httpx.AsyncClient, path: str, status: int, said: str
) -> None:
    answer = await web.get(f"/api/v1{path}")
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert said in problem["detail"]


async def test_a_job_whose_id_has_a_colon_is_one_job(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a:b", "a:counts")
    for job_id in ("a:b", "a:counts"):
        assert (await web.get(f"/api/v1/jobs/{job_id}")).json()["job_id"] == job_id


async def test_a_tag_differs_between_two_edits(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    await add_jobs(emptied_database, "a")
    before = await web.get("/api/v1/jobs/a")
    await emptied_database.execute("UPDATE scheduled_job SET priority = 1, version = version + 1")
    after = await web.get("/api/v1/jobs/a")
    assert before.headers["etag"] != after.headers["etag"]


async def test_the_changes_of_a_job_are_its_own_newest_first_and_outlive_its_row(
    web: httpx.AsyncClient, jobs: TestDatabase
) -> None:
    rows = ", ".join(
        f"('{number:03}', '2026-01-08', 'anna', 'cli', 'pause', '{'ab'[number % 2]}')" for number in range(10)
    )
    await jobs.execute(f"INSERT INTO change_log (change_id, at, who, via, what, job_id) VALUES {rows}")
    found = await walk(web, "/api/v1/jobs/b/changes")
    assert [item["change_id"] for item in found] == ["009", "007", "005", "003", "001"]
    assert (await web.get("/api/v1/jobs/never/changes")).json()["items"] == []
    nobody = await web.get("/api/v1/jobs/nobody/changes")
    assert nobody.status_code == 404
    assert "no job 'nobody'" in nobody.json()["detail"]


async def test_backfills_behind_another_are_each_listed_once(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    """Two were asked for at the same instant."""
    await add_jobs(emptied_database, "a")
    rows = [("one", "a", 1), ("two", "a", 2), ("three", "b", 2), ("four", "a", 3)]
    for backfill_id, job_id, day in rows:
        await emptied_database.execute(
            "INSERT INTO backfill (backfill_id, job_id, state, range_start, range_end, schedule_type, "
            "schedule_expr, timezone, next_start, windows_total, created_at) "
            f"VALUES ('{backfill_id}', '{job_id}', 'ACTIVE', '2026-01-01', '2026-01-02', 'cron', "
            f"'\"@hourly\"', 'UTC', '2026-01-01', 24, '2026-01-0{day} 00:00:00')"
        )
    whole = [item["backfill_id"] for item in (await web.get("/api/v1/backfills")).json()]
    assert whole == ["four", "two", "three", "one"]
    found: list[str] = []
    for _ in whole:
        before = {"before": found[-1]} if found else {}
        page = (await web.get("/api/v1/backfills", params={"limit": 1, **before})).json()
        found += [item["backfill_id"] for item in page]
    assert found == whole
    of_job = (await web.get("/api/v1/backfills", params={"job": "a", "before": "two"})).json()
    assert [item["backfill_id"] for item in of_job] == ["one"]
