"""The report on a period is added up from pages, each of which counts a bounded number of runs."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest
from pydantic import TypeAdapter

from piko.store.reports.periods import COUNTED, RunSum, period_of, read_period
from tests.harness.databases import TestDatabase
from tests.store.making import opened
from tests.web.rows import FIRST, add_jobs, add_runs
from tests.web.test_lists import walk

_PATH = "/api/v1/runs:report"
_SUMS = TypeAdapter(list[RunSum])
_UNTIL = FIRST + timedelta(minutes=7)


@pytest.fixture
async def period(emptied_database: TestDatabase) -> TestDatabase:
    """Runs of two jobs at the same due times, and some behind the period."""
    await add_jobs(emptied_database, "a", "b")
    await add_runs(emptied_database, "a", ["SUCCESS", "FAILED", "SUCCESS", "MISSED", "RUNNING"] * 2)
    await add_runs(emptied_database, "b", ["SUCCESS", "CANCELLED", "LOST", "QUEUED"] * 2, prefix="other")
    for statement in (
        "UPDATE job_run SET duration_s = 0.5 WHERE state = 'SUCCESS'",
        "UPDATE job_run SET duration_s = 2 WHERE run_id = 'run-001'",
        "UPDATE job_run SET missed_count = 40 WHERE run_id = 'run-003'",
    ):
        await emptied_database.execute(statement)
    return emptied_database


@pytest.mark.parametrize("job", [None, "a"])
async def test_its_pages_add_up_to_what_one_statement_says(
    web: httpx.AsyncClient, period: TestDatabase, job: str | None
) -> None:
    bounds = {"since": FIRST.isoformat(), "until": _UNTIL.isoformat()}
    found = _SUMS.validate_python(await walk(web, _PATH, **bounds, **({} if job is None else {"job": job})))
    async with opened(period) as database:
        expected = await read_period(database, since=FIRST, until=_UNTIL, job_id=job)
    assert period_of(found, since=FIRST, until=_UNTIL) == expected
    lines = {line.job_id: line for line in expected.jobs}
    assert (lines["a"].runs, lines["a"].failed, lines["a"].left_out, lines["a"].longest_s) == (6, 2, 40, 2.0)
    assert expected.total.runs == (6 if job else 13)


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({}, "since"),
        ({"since": "yesterday", "until": "2026-01-09T00:00:00Z"}, "since"),
        ({"since": "2026-01-08T00:00:00Z", "until": "2026-01-09T00:00:00Z", "limit": COUNTED + 1}, "limit"),
    ],
)
async def test_a_period_without_bounds_is_refused(
    web: httpx.AsyncClient, query: dict[str, str], text: str
) -> None:
    answer = await web.get(_PATH, params=query)
    assert (answer.status_code, text in answer.text) == (422, True)
