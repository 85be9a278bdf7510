"""What needs a person is the same on the page and in the API, however much of it there is."""

from __future__ import annotations

import re

from tests.harness.databases import TestDatabase
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
