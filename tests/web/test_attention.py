"""What needs a person is the same on the page and in the API, however much of it there is."""

from __future__ import annotations

import re
from typing import Any

import httpx

from piko.model.fences import Fence
from piko.store.reports.jobs_in_need import MOST
from tests.harness.databases import TestDatabase
from tests.harness.statements import sent_to
from tests.store.making import foresee, opened
from tests.web.clients import serving

_FAILING = 70
_STATEMENTS = (
    "INSERT INTO leader_lease (name, epoch, holder, expires_at) VALUES ('default', 7, 'one', '2999-01-01')",
    "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, last_data_time) VALUES "
    + ", ".join(
        f"""('job-{n:02}', 'cron', '"@hourly"', '2026-01-08 {n % 24:02}:00:00')""" for n in range(80)
    ),
    "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) VALUES "
    + ", ".join(f"('job-{n:02}', 'demo', 'app:job', 1, 'h', 'one')" for n in range(80)),
    "INSERT INTO job_state (job_id, status, next_run_at, cursor_at, consecutive_failures, last_state) VALUES "
    + ", ".join(
        f"('job-{n:02}', 'Scheduled', '2999-01-01', '2026-01-10', {int(n < _FAILING)}, 'FAILED')"
        for n in range(80)
    ),
)


async def test_the_page_shows_the_first_of_what_the_api_lists(emptied_database: TestDatabase) -> None:
    for statement in _STATEMENTS:
        await emptied_database.execute(statement)
    async with serving(emptied_database) as web:
        answer = (await web.get("/api/v1/attention")).json()
        page = (await web.get("/")).text
    listed = [trouble["subject"] for trouble in answer["troubles"]]
    shown = re.findall(r'<a class="job" href="[^"]*">([^<]+)</a>', page)
    assert shown == listed[:50]
    assert answer["jobs"]["failing"] == _FAILING
    assert len([item for item in answer["troubles"] if item["kind"] == "failing"]) == _FAILING
    assert {f"job-{n}" for n in range(_FAILING, 80)} < set(listed), "those whose data alone is late"


async def test_pages_have_together_what_one_page_has_and_each_job_once(
    emptied_database: TestDatabase,
) -> None:
    for statement in (*_STATEMENTS, _A_SILENT_LEADER):
        await emptied_database.execute(statement)
    async with serving(emptied_database) as web:
        whole = (await web.get("/api/v1/attention?limit=500")).json()
        pages = await _pages(web, limit=7)
        refused = await web.get("/api/v1/attention?cursor=nonsense")
    assert whole["next"] is None
    assert [item for page in pages for item in page["troubles"]] == whole["troubles"]
    assert pages[0]["troubles"][0]["kind"] == "no_leader", "what concerns all jobs comes first, and once"
    subjects = [item["subject"] for item in whole["troubles"] if item["kind"] in ("failing", "late_data")]
    assert len({*subjects}) == 80
    assert all(len(page["troubles"]) <= 2 * 7 + 1 and not page["well"] for page in pages)
    assert refused.status_code == 400


async def test_a_run_that_breaks_a_promise_is_on_one_page_alone(emptied_database: TestDatabase) -> None:
    for statement in (*_STATEMENTS, _PROMISED, _OPEN_RUN):
        await emptied_database.execute(statement)
    async with serving(emptied_database) as web:
        pages = await _pages(web, limit=3)
    found = [item for page in pages for item in page["troubles"] if item["subject"] == "job-79"]
    assert [item["kind"] for item in found] == ["late"]
    assert "a run had to end by 2026-01-08T03:01:00Z" in found[0]["text"]


async def test_jobs_whose_schedule_says_that_they_are_well_fill_no_page_and_hide_no_job(
    emptied_database: TestDatabase,
) -> None:
    """Their data is older than that of the others, since theirs is due once in a thousand years."""
    for statement in (*_STATEMENTS, _NOT_FAILING, _SELDOM):
        await emptied_database.execute(statement)
    async with serving(emptied_database) as web:
        first = (await web.get("/api/v1/attention?limit=5")).json()
        page = (await web.get("/")).text
    assert [item["subject"] for item in first["troubles"]] == [f"job-{n}" for n in (72, 73, 74, 75, 76)]
    assert not first["well"]
    assert re.findall(r'<a class="job" href="[^"]*">([^<]+)</a>', page)[:5] == [
        item["subject"] for item in first["troubles"]
    ]


async def test_a_page_without_a_trouble_does_not_say_that_all_is_well_where_more_jobs_are_to_be_looked_at(
    emptied_database: TestDatabase,
) -> None:
    """More jobs than a page looks at may have late data; the schedules of the first say that it is not."""
    ids = [f"seldom-{n:03}" for n in range(MOST + 1)]
    for statement in (
        _STATEMENTS[0],
        "INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr, last_data_time) VALUES "
        + ", ".join(
            f"""('{job_id}', 'interval', '{{"hours": 8760000}}', '2026-01-08 00:00:00')""" for job_id in ids
        ),
        "INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id) VALUES "
        + ", ".join(f"('{job_id}', 'demo', 'app:job', 1, 'h', 'one')" for job_id in ids),
        "INSERT INTO job_state (job_id, status, next_run_at, cursor_at, last_state) VALUES "
        + ", ".join(f"('{job_id}', 'Scheduled', '2999-01-01', '2026-01-10', 'SUCCESS')" for job_id in ids),
    ):
        await emptied_database.execute(statement)
    async with serving(emptied_database) as web:
        first = (await web.get("/api/v1/attention")).json()
        page = (await web.get("/")).text
    assert (first["troubles"], first["well"], first["next"] is None) == ([], False, False)
    assert "None of the jobs that were looked at needs attention, but there are more" in page
    assert "Nothing needs attention" not in page


async def test_what_is_foreseen_of_late_data_finds_the_jobs_that_a_search_finds(
    emptied_database: TestDatabase,
) -> None:
    for statement in (*_STATEMENTS, *_VARIED, _PROMISED, _OPEN_RUN):
        await emptied_database.execute(statement)
    async with serving(emptied_database) as web:
        with sent_to(emptied_database, of="late_at <=") as foreseen:
            searched = (await web.get("/api/v1/attention?limit=500")).json()["troubles"]
        assert foreseen == []
        await _foresee(emptied_database)
        with sent_to(emptied_database, of="late_at <=") as foreseen:
            found = (await web.get("/api/v1/attention?limit=500")).json()["troubles"]
            pages = await _pages(web, limit=7)
        assert len(foreseen) > 1
    assert sorted(found, key=str) == sorted(searched, key=str)
    assert [item for page in pages for item in page["troubles"]] == found
    alone = [item for item in found if item["subject"] >= f"job-{_FAILING}" and item["kind"] == "late_data"]
    assert alone == sorted(alone, key=lambda item: (item["since"], item["subject"])), "the first late first"


async def test_without_a_leader_nobody_relies_on_what_was_foreseen(emptied_database: TestDatabase) -> None:
    for statement in (*_STATEMENTS, _NOT_FAILING):
        await emptied_database.execute(statement)
    await _foresee(emptied_database)
    await emptied_database.execute("UPDATE data_deadline SET late_at = '9999-01-01 00:00:00'")
    async with serving(emptied_database) as web:
        led = (await web.get("/api/v1/attention")).json()
        await emptied_database.execute(_A_SILENT_LEADER)
        left = (await web.get("/api/v1/attention")).json()
    assert [item["kind"] for item in led["troubles"]] == []
    assert [item["kind"] for item in left["troubles"]] == ["no_leader", *["late_data"] * 80]


async def _foresee(database: TestDatabase) -> None:
    async with opened(database) as store:
        await foresee(store, Fence(name="default", epoch=7))


_VARIED = (
    "UPDATE scheduled_job SET data_within_s = 86400 WHERE job_id IN ('job-72', 'job-03')",
    "UPDATE scheduled_job SET data_within_s = 315360000 WHERE job_id = 'job-73'",
    "UPDATE scheduled_job SET enabled = 0 WHERE job_id IN ('job-72', 'job-74', 'job-04')",
    "UPDATE scheduled_job SET last_data_time = NULL WHERE job_id = 'job-75'",
    "UPDATE scheduled_job SET schedule_expr = '\"no schedule\"' WHERE job_id = 'job-76'",
    "UPDATE job_state SET status = 'Invalid' WHERE job_id = 'job-76'",
    "UPDATE scheduled_job SET end_at = last_data_time WHERE job_id = 'job-77'",
)
_A_SILENT_LEADER = "UPDATE leader_lease SET expires_at = '2026-01-01'"
_PROMISED = "UPDATE scheduled_job SET finish_within_s = 60 WHERE job_id = 'job-79'"
_OPEN_RUN = (
    "INSERT INTO job_run (run_id, job_id, scheduled_time, state, attempt) "
    "VALUES ('r1', 'job-79', '2026-01-08 03:00:00', 'RUNNING', 1)"
)
_NOT_FAILING = "UPDATE job_state SET consecutive_failures = 0"
_SELDOM = (
    "UPDATE scheduled_job SET schedule_type = 'interval', schedule_expr = '{\"hours\": 8760000}' "
    "WHERE job_id < 'job-70'"
)


async def _pages(web: httpx.AsyncClient, *, limit: int) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while not pages or cursor:
        answer = await web.get("/api/v1/attention", params={"limit": limit, **cursor})
        assert answer.status_code == 200, answer.text
        pages.append(answer.json())
        following = pages[-1]["next"]
        cursor = {} if following is None else {"cursor": following}
    return pages
