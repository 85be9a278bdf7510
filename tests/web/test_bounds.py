"""Every page and endpoint reads a bounded part of the history, in few statements: what the server plans."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import event
from sqlalchemy.engine import Engine

from piko.clock import SystemClock
from piko.store.engine import Database
from piko.store.reports.happenings import happenings_since
from piko.store.schema.migrate import upgrade
from piko.web.application import create_web
from piko.web.options import WebSettings
from tests.harness.databases import TestDatabase
from tests.store.making import opened
from tests.web.clients import serving

_JOBS, _RUNS, _LETTERS = 50, 40_000, 10_000
_MOST_STATEMENTS = 5
_MOST_ROWS = 1000
"""Of a history that is read by itself or sorted: pages have fifty."""
_HISTORIES = ("job_run", "run_log", "change_log", "dead_letter")

_ROWS = (
    f"""INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr)
    SELECT concat('job-', seq), 'cron', '"@hourly"' FROM seq_0_to_{_JOBS - 1}""",
    f"""INSERT INTO job_state (job_id, status, next_run_at, consecutive_failures, last_state, last_run_id)
    SELECT concat('job-', seq), 'Scheduled', '2026-01-08', seq % 2, IF(seq % 2, 'FAILED', 'SUCCESS'),
      concat('run-', lpad(seq, 8, '0')) FROM seq_0_to_{_JOBS - 1}""",
    f"""INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id)
    SELECT concat('job-', seq), 'demo', 'app:job', seq % 2, 'hash', 'one' FROM seq_0_to_{_JOBS - 1}""",
    f"""INSERT INTO job_run (run_id, job_id, scheduled_time, state, started_at, finished_at, backfill_id)
    SELECT concat('run-', lpad(seq, 8, '0')), concat('job-', seq % {_JOBS}),
      '2026-01-08' + INTERVAL seq MINUTE, IF(seq % 100 = 0, 'FAILED', 'SUCCESS'),
      '2026-01-08' + INTERVAL seq MINUTE, '2026-01-08' + INTERVAL seq MINUTE,
      IF(seq % 200 = 0, 'backfill', NULL) FROM seq_1_to_{_RUNS}""",
    f"""INSERT INTO run_log (run_id, job_id, head, line_count)
    SELECT run_id, job_id, 'a line', 1 FROM job_run LIMIT {_RUNS}""",
    f"""INSERT INTO change_log (change_id, at, who, via, what, job_id)
    SELECT lpad(seq, 12, '0'), '2026-01-08', 'ann', 'api', 'pause', concat('job-', seq % {_JOBS})
    FROM seq_1_to_{_RUNS}""",
    f"""INSERT INTO dead_letter
      (letter_id, instance_id, sink, job_id, run_id, record_key, error, died_at)
    SELECT concat('letter-', lpad(seq, 8, '0')), concat('instance-', seq % 20), concat('sink-', seq % 4),
      concat('job-', seq % {_JOBS}), concat('run-', lpad(seq % 1000, 8, '0')), 'key', 'ValueError: no',
      '2026-01-08' FROM seq_1_to_{_LETTERS}""",
    """INSERT INTO backfill (backfill_id, job_id, state, range_start, range_end, schedule_type, schedule_expr,
      timezone, next_start, windows_total)
    VALUES ('backfill', 'job-1', 'ACTIVE', '2026-01-01', '2026-01-08', 'cron', '"@hourly"', 'UTC',
      '2026-01-02', 168)""",
    "INSERT INTO leader_lease (name, epoch) VALUES ('default', 1)",
    """INSERT INTO runtime_instance (instance_id, app, host, pid, version, started_at, heartbeat_at)
    VALUES ('one', 'demo', 'host', 1, '0', now(6), now(6))""",
    "ANALYZE TABLE job_run, run_log, change_log, dead_letter, scheduled_job, job_state",
)

_ENDPOINTS = {
    "/attention": ["/attention"],
    "/jobs": [
        "/jobs",
        "/jobs?late=true&sort=next&total=true",
        "/jobs?failing=false&sort=failures",
        "/jobs?text=1&owner=sql&namespace=data",
    ],
    "/jobs:counts": ["/jobs:counts"],
    "/jobs/{job_id}": ["/jobs/job-1", "/jobs/job-nobody"],
    "/jobs/{job_id}/next": ["/jobs/job-1/next"],
    "/jobs/{job_id}/explain": [
        "/jobs/job-1/explain",
        "/jobs/job-1/explain?at=2026-01-08T00:51:00Z",
        "/jobs/job-1/explain?at=2026-01-08T03:00:00Z",
        "/jobs/job-1/explain?at=2999-01-08T00:00:00Z",
    ],
    "/jobs/{job_id}/schedule": ["/jobs/job-1/schedule"],
    "/jobs/{job_id}/windows": ["/jobs/job-1/windows"],
    "/jobs/{job_id}/config": ["/jobs/job-1/config"],
    "/runs": [
        "/runs",
        "/runs?state=FAILED&state=LOST",
        "/runs?state=SUCCESS&until=2026-01-20T00:00:00Z",
        "/runs?job=job-1",
        "/runs?job=job-1&state=FAILED",
        "/runs?job=job-nobody",
        "/runs?backfill=backfill",
        "/runs?since=2026-02-01T00:00:00Z",
    ],
    "/runs:counts": ["/runs:counts"],
    "/runs/{run_id}": ["/runs/run-00000001"],
    "/runs/{run_id}/attempts": ["/runs/run-00000001/attempts"],
    "/backfills": ["/backfills", "/backfills?job=job-1"],
    "/backfills/{backfill_id}": ["/backfills/backfill"],
    "/changes": ["/changes", "/changes?job=job-1"],
    "/jobs/{job_id}/changes": ["/jobs/job-1/changes"],
    "/replicas": ["/replicas"],
    "/sinks": ["/sinks"],
    "/dead-letters": [
        "/dead-letters",
        "/dead-letters?sink=sink-1",
        "/dead-letters?job=job-1",
        "/dead-letters?run=run-00000001&asked=false",
        "/dead-letters?replica=instance-1&sink=sink-1",
    ],
    "/dead-letters/{letter_id}": ["/dead-letters/letter-00000001", "/dead-letters/none"],
    "/leader": ["/leader"],
    "/definitions": ["/definitions"],
}
"""By path of the API: addresses that ask it in each way that makes a statement of its own."""
_WITHOUT_END = {"/events"}
_PAGES = (
    "/",
    "/jobs",
    "/jobs?failing=true&sort=failures",
    "/jobs/job-1",
    "/runs",
    "/runs?state=FAILED",
    "/runs/run-00000001",
    "/backfills",
    "/backfills/backfill",
    "/replicas",
    "/sinks",
    "/dead-letters",
    "/dead-letters?sink=sink-1",
    "/jobs/job-1/why?at=2026-01-08T03:00:00Z",
)

_numbers = itertools.count()


@pytest.fixture
async def long_history(mariadb: TestDatabase) -> TestDatabase:
    """Tables with a long history, and statistics of them."""
    await upgrade(mariadb.dsn)
    for statement in _ROWS:
        await mariadb.execute(statement)
    return mariadb


@pytest.fixture
async def database(long_history: TestDatabase) -> AsyncIterator[Database]:
    async with opened(long_history) as made:
        yield made


def test_every_path_of_the_api_is_among_those_that_are_measured() -> None:
    app = create_web(
        settings=WebSettings(dsn=SecretStr("sqlite+aiosqlite://"), timezone="UTC"), clock=SystemClock()
    )
    paths = {path.removeprefix("/api/v1") for path, ways in app.openapi()["paths"].items() if "get" in ways}
    assert paths == _ENDPOINTS.keys() | _WITHOUT_END


async def test_no_page_or_endpoint_scans_a_history_or_asks_often(
    long_history: TestDatabase, database: Database
) -> None:
    wrong = []
    asked = [f"/api/v1{address}" for addresses in _ENDPOINTS.values() for address in addresses]
    async with serving(long_history) as web:
        for address in [*asked, *_PAGES]:
            for place in await _first_two_pages(web, address):
                with _sent() as statements:
                    answer = await web.get(place, headers={"Accept": "text/html, application/json"})
                assert answer.status_code in (200, 404), (place, answer.text)
                assert statements, f"{place}: nothing was read"
                if len(statements) > _MOST_STATEMENTS:
                    wrong.append(f"{place}: {len(statements)} statements")
                for statement, parameters in statements:
                    wrong += [f"{place}: {plan}" for plan in await _excesses(database, statement, parameters)]
    assert wrong == []


async def test_a_calm_overview_reads_what_is_next_within_the_bound(
    long_history: TestDatabase, database: Database
) -> None:
    for statement in (
        "UPDATE job_state SET consecutive_failures = 0, last_state = 'SUCCESS', next_run_at = '2999-01-08'",
        "UPDATE scheduled_job SET finish_within_s = 86400 WHERE job_id < 'job-2'",
        "UPDATE leader_lease SET holder = 'one', expires_at = '2999-01-08'",
        "UPDATE runtime_instance SET heartbeat_at = now(6) + INTERVAL 1 HOUR",
    ):
        await long_history.execute(statement)
    async with serving(long_history) as web:
        with _sent() as statements:
            page = (await web.get("/")).text
    assert "Nothing needs attention" in page
    assert "jobs/job-0" in page
    assert len(statements) <= _MOST_STATEMENTS
    for sent, parameters in statements:
        assert await _excesses(database, sent, parameters) == []


async def test_a_look_for_all_who_follow_events_scans_no_history(database: Database) -> None:
    with _sent() as statements:
        first = await happenings_since(database, None)
        await happenings_since(database, first.now)
    assert len(statements) == 6
    for statement, parameters in statements:
        assert await _excesses(database, statement, parameters) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM job_run WHERE error = 'none'",
        "SELECT run_id FROM job_run WHERE scheduled_time > '2026-01-09' ORDER BY error LIMIT 5",
        "SELECT max(at) FROM change_log",
    ],
)
async def test_a_scan_or_a_sort_of_a_history_would_be_seen(database: Database, statement: str) -> None:
    assert await _excesses(database, statement, ())


async def _first_two_pages(web: httpx.AsyncClient, address: str) -> list[str]:
    """The address, and that of the next page where there is one."""
    answer = await web.get(address, headers={"Accept": "text/html, application/json"})
    if "json" in answer.headers["content-type"]:
        listed = answer.json()
        cursor = listed.get("next") if isinstance(listed, dict) else None
        more = "&" if "?" in address else "?"
        return [address, f"{address}{more}cursor={quote(cursor)}"] if cursor else [address]
    found = re.search(r'rel="next" href="([^"]+)"', answer.text)
    return [address] if found is None else [address, "/" + found[1].replace("&amp;", "&").lstrip("./")]


async def _excesses(database: Database, statement: str, parameters: Any) -> list[str]:
    """What of a statement reads, or sorts, much of a history; planned afresh."""
    if not any(table in statement for table in _HISTORIES):
        return []
    once = f"EXPLAIN /* {next(_numbers)} */ {statement}"
    async with database.statements() as connection:
        plans = (await connection.exec_driver_sql(once, parameters)).mappings().all()
    found = []
    for plan in plans:
        rows, extra = int(str(plan["rows"] or 0).split()[0]), str(plan["Extra"])
        scanned = plan["type"] in ("ALL", "index") or "filesort" in extra or "temporary" in extra
        if plan["table"] in _HISTORIES and scanned and rows > _MOST_ROWS:
            found.append(f"{plan['table']} {plan['type']} {rows} rows, {extra}: {statement}")
    return found


@contextmanager
def _sent() -> Iterator[list[tuple[str, Any]]]:
    """What this process sends to a server meanwhile, with its parameters."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)
