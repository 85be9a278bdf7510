"""Every page and endpoint reads a bounded part of the history, in few statements: what the server plans."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from piko.clock import SystemClock
from piko.model.fences import Fence
from piko.store.engine import Database
from piko.store.reports import need_statement, runs
from piko.store.reports.happenings import happenings_since
from piko.store.schema.migrate import upgrade
from piko.web.application import create_web
from piko.web.options import WebSettings
from tests.harness.databases import TestDatabase
from tests.harness.servers import database_kinds
from tests.harness.statements import sent_to
from tests.store.making import foresee, opened
from tests.web.addresses import (
    API,
    ENDPOINTS,
    NOT_OF_THE_DATABASE,
    PAGES,
    Known,
    addresses,
    reads_of,
    with_cursor,
)
from tests.web.clients import serving

_JOBS, _RUNS, _LETTERS = 50, 40_000, 10_000
_MOST_STATEMENTS = 5
_MOST_SORTED = 1000
"""Rows of a history that the server may plan to sort."""
_MOST_READ = 5000
"""Rows, of tables and of indexes, that the server may read for one statement."""
_LOOKED = 300
"""Runs of one job that a page looks at, in these tests."""
_MIDDLE = _RUNS // 2
_HISTORIES = ("job_run", "run_log", "change_log", "dead_letter")

_NUMBERS = (
    "CREATE TABLE numbers (seq INTEGER PRIMARY KEY)",
    f"""INSERT INTO numbers
    WITH digit AS ({" UNION ALL ".join(f"SELECT {number} AS d" for number in range(10))})
    SELECT a.d + 10 * b.d + 100 * c.d + 1000 * d.d + 10000 * e.d
    FROM digit a CROSS JOIN digit b CROSS JOIN digit c CROSS JOIN digit d CROSS JOIN digit e""",
)
_ROWS = (
    f"""INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr)
    SELECT concat('job-', seq), 'cron', '"@hourly"' FROM numbers WHERE seq < {_JOBS}""",
    f"""INSERT INTO job_state (job_id, status, next_run_at, consecutive_failures, last_state, last_run_id)
    SELECT concat('job-', seq), 'Scheduled', '2026-01-08', seq % 2, IF(seq % 2, 'FAILED', 'SUCCESS'),
      concat('run-', lpad(seq, 8, '0')) FROM numbers WHERE seq < {_JOBS}""",
    f"""INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id)
    SELECT concat('job-', seq), 'demo', 'app:job', seq % 2, 'hash', 'one' FROM numbers WHERE seq < {_JOBS}""",
    f"""INSERT INTO job_run (run_id, job_id, scheduled_time, state, started_at, finished_at, backfill_id)
    SELECT concat('run-', lpad(seq, 8, '0')), concat('job-', seq % {_JOBS}),
      '2026-01-08' + INTERVAL seq MINUTE, IF(seq % 100 = 0, 'FAILED', 'SUCCESS'),
      '2026-01-08' + INTERVAL seq MINUTE, '2026-01-08' + INTERVAL seq MINUTE,
      IF(seq % 200 = 0, 'backfill', NULL) FROM numbers WHERE seq BETWEEN 1 AND {_RUNS}""",
    f"""INSERT INTO run_log (run_id, job_id, head, line_count)
    SELECT run_id, job_id, 'a line', 1 FROM job_run LIMIT {_RUNS}""",
    f"""INSERT INTO change_log (change_id, at, who, via, what, job_id)
    SELECT lpad(seq, 12, '0'), '2026-01-08', 'ann', 'api', 'pause', concat('job-', seq % {_JOBS})
    FROM numbers WHERE seq BETWEEN 1 AND {_RUNS}""",
    f"""INSERT INTO dead_letter
      (letter_id, instance_id, sink, job_id, run_id, record_key, error, died_at)
    SELECT concat('letter-', lpad(seq, 8, '0')), concat('instance-', seq % 20), concat('sink-', seq % 4),
      concat('job-', seq % {_JOBS}), concat('run-', lpad(seq % 1000, 8, '0')), 'key', 'ValueError: no',
      '2026-01-08' FROM numbers WHERE seq BETWEEN 1 AND {_LETTERS}""",
    """INSERT INTO backfill (backfill_id, job_id, state, range_start, range_end, schedule_type, schedule_expr,
      timezone, next_start, windows_total)
    VALUES ('backfill', 'job-1', 'ACTIVE', '2026-01-01', '2026-01-08', 'cron', '"@hourly"', 'UTC',
      '2026-01-02', 168)""",
    "INSERT INTO leader_lease (name, epoch) VALUES ('default', 1)",
    """INSERT INTO runtime_instance (instance_id, app, host, pid, version, started_at, heartbeat_at)
    VALUES ('one', 'demo', 'host', 1, '0', now(6), now(6))""",
    "ANALYZE TABLE job_run, run_log, change_log, dead_letter, scheduled_job, job_state",
)

_KNOWN = Known(
    job="job-1",
    stateful="job-3",
    run=f"run-{_MIDDLE:08}",
    backfill="backfill",
    letter="letter-00000001",
    replica="instance-1",
    sink="sink-1",
    since="2026-01-09T00:00:00Z",
    until="2027-01-01T00:00:00Z",
)

_ACCEPT = {"Accept": "text/html, application/json"}
_numbers = itertools.count()


@pytest.fixture
async def long_history(database: TestDatabase) -> TestDatabase:
    """Tables with a long history, and statistics of them."""
    await upgrade(database.dsn)
    for statement in (*_NUMBERS, *_ROWS):
        await database.execute(statement)
    return database


@pytest.fixture
async def store(long_history: TestDatabase) -> AsyncIterator[Database]:
    async with opened(long_history) as made:
        yield made


on_servers = pytest.mark.parametrize(
    "database", [kind for kind in database_kinds() if kind != "sqlite"], indirect=True
)


def test_every_route_that_answers_a_get_is_among_those_that_are_measured() -> None:
    app = create_web(
        settings=WebSettings(dsn=SecretStr("sqlite+aiosqlite://"), timezone="UTC"), clock=SystemClock()
    )
    measured = {API + path for path in ENDPOINTS} | set(PAGES)
    assert reads_of(app) - NOT_OF_THE_DATABASE == measured


@on_servers
async def test_no_page_or_endpoint_reads_or_sorts_much_or_asks_often(
    long_history: TestDatabase, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "LOOKED", _LOOKED)
    wrong = []
    async with serving(long_history) as web:
        for address in addresses(_KNOWN):
            for place in await _some_pages(web, address):
                with sent_to(long_history) as statements:
                    answer = await web.get(place, headers=_ACCEPT)
                assert answer.status_code in (200, 404), (place, answer.text)
                if len(statements) > _MOST_STATEMENTS:
                    wrong.append(f"{place}: {len(statements)} statements")
                for statement, parameters in statements:
                    wrong += [f"{place}: {plan}" for plan in await _excesses(store, statement, parameters)]
                    read = await _rows_read(store, statement, parameters)
                    if read > _MOST_READ:
                        wrong.append(f"{place}: {read} rows are read: {statement} {parameters}")
    assert wrong == []


@on_servers
async def test_a_calm_overview_reads_what_is_next_within_the_bound(
    long_history: TestDatabase, store: Database
) -> None:
    for statement in (
        "UPDATE job_state SET consecutive_failures = 0, last_state = 'SUCCESS', next_run_at = '2999-01-08'",
        "UPDATE scheduled_job SET finish_within_s = 86400 WHERE job_id < 'job-2'",
        "UPDATE leader_lease SET holder = 'one', expires_at = '2999-01-08'",
        "UPDATE runtime_instance SET heartbeat_at = now(6) + INTERVAL 1 HOUR",
    ):
        await long_history.execute(statement)
    async with serving(long_history) as web:
        with sent_to(long_history) as statements:
            page = (await web.get("/")).text
    assert "Nothing needs attention" in page
    assert "jobs/job-0" in page
    assert len(statements) <= _MOST_STATEMENTS
    for sent, parameters in statements:
        assert await _excesses(store, sent, parameters) == []
    few = sum([await _rows_read(store, *sent) for sent in statements])
    for statement in _WELL:
        await long_history.execute(statement)
    many = sum([await _rows_read(store, *sent) for sent in statements])
    assert many - few <= 2 * _MORE + _MORE // 10, "of all that are due, the first are read"


_MORE = 2000
_WELL = (
    f"""INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr)
    SELECT concat('well-', seq), 'cron', '"@hourly"' FROM numbers WHERE seq < {_MORE}""",
    f"""INSERT INTO job_state (job_id, status, next_run_at, last_state, last_success_at)
    SELECT concat('well-', seq), 'Scheduled', '2999-01-08', 'SUCCESS', now(6)
    FROM numbers WHERE seq < {_MORE}""",
    f"""INSERT INTO job_definition (job_id, app, handler, stateful, content_hash, instance_id)
    SELECT concat('well-', seq), 'demo', 'app:job', 0, 'hash', 'one' FROM numbers WHERE seq < {_MORE}""",
    "ANALYZE TABLE scheduled_job, job_state, job_definition",
)


@pytest.mark.parametrize("address", ["/", f"{API}/attention", f"{API}/jobs:counts"])
@on_servers
async def test_of_a_job_that_is_well_what_needs_a_person_costs_one_entry_of_each_index_that_counts(
    long_history: TestDatabase, store: Database, address: str
) -> None:
    """All jobs are counted, and the jobs of each replica: an entry of one narrow index for either."""
    async with serving(long_history) as web:
        few = await _rows_of(web, long_history, store, address)
        for statement in _WELL:
            await long_history.execute(statement)
        many = await _rows_of(web, long_history, store, address)
    counted = 1 if "counts" in address else 2
    assert many - few <= counted * _MORE + _MORE // 10


@pytest.mark.parametrize("address", ["/", f"{API}/attention"])
@pytest.mark.parametrize("watermark", ["'2026-01-08'", "now(6)"], ids=["late", "well"])
@on_servers
async def test_of_data_that_is_foreseen_no_more_is_read_than_a_page_has(
    long_history: TestDatabase, store: Database, address: str, watermark: str
) -> None:
    """All jobs are counted three times: those foreseen, and as in the test before."""
    for statement in (
        "UPDATE leader_lease SET holder = 'one', expires_at = '2999-01-08'",
        "UPDATE job_state SET consecutive_failures = 0, last_state = 'SUCCESS', next_run_at = '2999-01-08'",
        "UPDATE runtime_instance SET heartbeat_at = now(6) + INTERVAL 1 HOUR",
    ):
        await long_history.execute(statement)
    fence = Fence(name="default", epoch=1)
    await foresee(store, fence)
    async with serving(long_history) as web:
        few = await _rows_of(web, long_history, store, address)
        stateful = (
            f"UPDATE scheduled_job SET last_data_time = {watermark} WHERE job_id LIKE 'well-%'",
            "UPDATE job_definition SET stateful = 1 WHERE job_id LIKE 'well-%'",
            "UPDATE job_state SET cursor_at = now(6) WHERE job_id LIKE 'well-%'",
        )
        for statement in (*_WELL, *stateful):
            await long_history.execute(statement)
        await foresee(store, fence)
        many = await _rows_of(web, long_history, store, address)
    assert many - few <= 4 * _MORE


@on_servers
async def test_the_page_reads_a_bounded_part_of_the_jobs_when_all_of_them_fail(
    long_history: TestDatabase, store: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(need_statement, "LOOKED", _LOOKED)
    need_statement.statement_of.cache_clear()
    failing = "UPDATE job_state SET consecutive_failures = 2, last_state = 'FAILED'"
    for statement in (*_WELL, failing):
        await long_history.execute(statement)
    try:
        async with serving(long_history) as web:
            with sent_to(long_history) as statements:
                await web.get("/", headers=_ACCEPT)
        search = max(statements, key=lambda sent: len(sent[0]))
        assert await _rows_read(store, *search) < 10 * _LOOKED
    finally:
        need_statement.statement_of.cache_clear()


async def _rows_of(web: httpx.AsyncClient, database: TestDatabase, store: Database, address: str) -> int:
    with sent_to(database) as statements:
        answer = await web.get(address, headers=_ACCEPT)
    assert answer.status_code == 200, answer.text
    counts = [await _rows_read(store, *sent) for sent in statements]
    return sum(counts)


@on_servers
async def test_a_look_for_all_who_follow_events_scans_no_history(
    long_history: TestDatabase, store: Database
) -> None:
    with sent_to(long_history) as statements:
        first = await happenings_since(store, None)
        await happenings_since(store, first.now)
    assert len(statements) == 6
    for statement, parameters in statements:
        assert await _excesses(store, statement, parameters) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM job_run WHERE error = 'none'",
        "SELECT run_id FROM job_run WHERE scheduled_time > '2026-01-09' ORDER BY error LIMIT 5",
        "SELECT max(at) FROM change_log",
    ],
)
@on_servers
async def test_a_scan_or_a_sort_of_a_history_would_be_seen(store: Database, statement: str) -> None:
    assert await _excesses(store, statement, ())


async def _some_pages(web: httpx.AsyncClient, address: str) -> list[str]:
    """The address, that of the next page if there is one, and of runs one from the middle of the list."""
    answer = await web.get(address, headers=_ACCEPT)
    if "json" in answer.headers["content-type"]:
        listed = answer.json()
        cursor = listed.get("next") if isinstance(listed, dict) else None
        if cursor is None:
            return [address]
        found = [address, with_cursor(address, cursor)]
        if "/runs" in address:
            middle = (await web.get(f"{API}/runs/{_KNOWN.run}")).json()
            key = [middle["scheduled_time"], middle["run_id"]]
            found.append(with_cursor(address, cursor, key=key))
        return found
    link = re.search(r'rel="next" href="([^"]+)"', answer.text)
    return [address] if link is None else [address, "/" + link[1].replace("&amp;", "&").lstrip("./")]


async def _rows_read(store: Database, statement: str, parameters: Any) -> int:
    """Entries of tables and indexes that the server reads to answer, by its own account."""
    async with store.statements() as connection:
        await connection.exec_driver_sql("FLUSH STATUS")
        (await connection.exec_driver_sql(statement, parameters)).all()
        counts = await connection.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'", ())
        return sum(int(row["Value"]) for row in counts.mappings())


async def _excesses(store: Database, statement: str, parameters: Any) -> list[str]:
    """What of a statement reads, or sorts, much of a history; planned afresh."""
    if not any(table in statement for table in _HISTORIES):
        return []
    once = f"EXPLAIN FORMAT=TRADITIONAL /* {next(_numbers)} */ {statement}"
    async with store.statements() as connection:
        plans = (await connection.exec_driver_sql(once, parameters)).mappings().all()
    found = []
    for plan in plans:
        rows, extra = int(str(plan["rows"] or 0).split()[0]), str(plan["Extra"])
        scanned = plan["type"] in ("ALL", "index") or "filesort" in extra or "temporary" in extra
        if plan["table"] in _HISTORIES and scanned and rows > _MOST_SORTED:
            found.append(f"{plan['table']} {plan['type']} {rows} rows, {extra}: {statement}")
    return found
