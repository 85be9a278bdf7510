"""Acts on pages: a form, what it would do, and only then the act; refused for who may not act."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from tests.harness.databases import TestDatabase
from tests.web.clients import serving
from tests.web.pages.night import write_night

_BROWSER = {"Accept": "text/html,*/*;q=0.8"}
_FROM_HERE = {**_BROWSER, "Origin": "http://piko.test"}

ACTS = {
    "/jobs/late/pause": "No due time fires until somebody resumes it.",
    "/jobs/paused/resume": "It fires again from its next due time on.",
    "/jobs/well/trigger": "A run is queued for",
    "/jobs/failing/run-window": "The watermark does not move.",
    "/jobs/failing/set-watermark": "windows run after that",
    "/jobs/failing/rollback-config": "The content of revision 1 becomes the config",
    "/jobs/failing/backfill": "24 windows from 2026-01-08 00:00:00 UTC",
    "/runs/running/cancel": "ends as CANCELLED",
    "/runs/failed-03/retry": "Attempt 2 at the window",
    "/backfills/backfill-1/pause": "No further window starts",
    "/backfills/backfill-1/cancel": "those in progress are cancelled",
    "/acts/pause/jobs?text=tenant": "30 jobs would be paused.",
    "/acts/resume/jobs?enabled=false": "jobs would be resumed.",
    "/acts/cancel/runs?state=QUEUED": "runs would be cancelled.",
    "/acts/retry/runs?job=failing&state=FAILED": "27 runs would be queued again.",
}
SAID = {
    "reason": "the source is down",
    "start": "2026-01-08T00:00",
    "end": "2026-01-09T00:00:00",
    "watermark": "2026-01-08T00:00",
    "revision": "1",
}


@pytest.fixture
async def night(emptied_database: TestDatabase) -> TestDatabase:
    await write_night(emptied_database.dsn, many=30)
    return emptied_database


async def _changes(database: TestDatabase) -> int:
    return len(await database.execute("SELECT 1 FROM change_log WHERE via <> 'sql'"))


async def _take(web: httpx.AsyncClient, path: str, step: str, **said: str) -> httpx.Response:
    return await web.post(path, data={**SAID, **said, "step": step}, headers=_FROM_HERE)


async def test_each_act_shows_what_it_would_do_then_does_it_and_says_who_why_and_how_at_a_shell(
    acting: httpx.AsyncClient, night: TestDatabase
) -> None:
    for path, says in ACTS.items():
        form = await acting.get(path, headers=_BROWSER)
        assert (form.status_code, "Show what it would do" in form.text) == (200, True), path
        before = await _changes(night)
        checked = await _take(acting, path, "check")
        assert says in _read(checked.text), (path, _read(checked.text))
        assert "piko " in checked.text, path
        assert await _changes(night) == before, f"{path}: a dry run changes nothing"
        tag = re.search(r'name="seen" value="([^"]*)"', checked.text)
        seen = tag[1].replace("&#34;", '"') if tag else ""
        done = await _take(acting, path, "do", seen=seen)
        assert done.status_code in (200, 303), (path, done.text)
        assert await _changes(night) > before, path
        if done.status_code == 303:
            page = await acting.get(done.url.join(done.headers["location"]), headers=_BROWSER)
            assert (page.status_code, 'class="notice"' in page.text) == (200, True), (path, page.text)
    who = await night.execute("SELECT DISTINCT who, via, reason FROM change_log WHERE via <> 'sql'")
    assert [tuple(row) for row in who] == [("ann", "page", "the source is down")]


@pytest.mark.usefixtures("night")
async def test_who_may_not_act_sees_why_and_no_form_and_every_post_is_refused(
    web: httpx.AsyncClient, emptied_database: TestDatabase
) -> None:
    proxy: dict[str, Any] = {"access": "header", "operators": ("ann",), "trusted_proxies": ("127.0.0.1/32",)}
    async with serving(emptied_database, **proxy) as viewer:
        viewer.headers["X-Forwarded-User"] = "bob"
        for client, why in ((web, "this server is read-only"), (viewer, "web_operators")):
            for path in ACTS:
                page = await client.get(path, headers=_BROWSER)
                assert (page.status_code, "<form" in page.text.partition("<main")[2]) == (200, False), path
                assert why in page.text, path
                assert (await _take(client, path, "do")).status_code == 403, path
            job = await client.get("/jobs/failing", headers=_BROWSER)
            assert "You may not act here" in job.text
            assert "failing/backfill" not in job.text
    assert not await _changes(emptied_database)


@pytest.mark.usefixtures("night")
async def test_a_form_that_does_not_say_where_it_comes_from_is_refused(acting: httpx.AsyncClient) -> None:
    for headers, status in (
        ({}, 415),
        ({"Origin": "http://evil.test"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
    ):
        answer = await acting.post("/jobs/late/pause", data={"step": "do"}, headers=headers)
        assert answer.status_code == status, headers


@pytest.mark.usefixtures("night")
async def test_a_row_that_changed_after_the_dry_run_is_left_alone(
    acting: httpx.AsyncClient, night: TestDatabase
) -> None:
    checked = await _take(acting, "/jobs/late/pause", "check")
    tag = re.search(r'name="seen" value="([^"]*)"', checked.text)
    assert tag is not None
    await night.execute("UPDATE scheduled_job SET priority = 5 WHERE job_id = 'late'")
    done = await _take(acting, "/jobs/late/pause", "do", seen=tag[1].replace("&#34;", '"'))
    assert (done.status_code, "read it again" in done.text) == (412, True)


@pytest.mark.usefixtures("night")
async def test_what_cannot_be_read_or_done_is_said_at_its_field_or_above_the_form(
    acting: httpx.AsyncClient,
) -> None:
    for path, said, says in [
        ("/jobs/well/trigger", {"config": "batch=5"}, "is not JSON"),
        ("/jobs/failing/backfill", {"start": "yesterday"}, "valid datetime"),
        ("/jobs/failing/backfill", {"start": ""}, "the act needs it"),
        ("/jobs/failing/pause", {}, "kubectl patch pikoschedule orders -n data"),
        ("/jobs/late/pause", {"until": "2020-01-01T00:00"}, "has passed"),
    ]:
        checked = await _take(acting, path, "check", **said)
        assert (checked.status_code, says in _read(checked.text)) == (200, True), (path, checked.text)
        assert (await _take(acting, path, "do", **said)).status_code in (409, 422), path
    nothing = await acting.get("/jobs/late/explode", headers=_BROWSER)
    assert nothing.status_code == 404
    program = await acting.post("/jobs/late/pause", json={})
    assert (program.status_code, "programs use /api/v1" in program.json()["detail"]) == (415, True)


def _read(html: str) -> str:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    return text.replace("&#39;", "'").replace("&#34;", '"')
