"""Reads for people use an index: what MariaDB plans for each, on a history that is long enough to matter."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from piko.store.backfills import BackfillStore
from piko.store.engine import Database
from piko.store.reports.attention import read_facts
from piko.store.reports.changes import ChangeList
from piko.store.reports.history import RunHistory
from piko.store.reports.jobs import JobFilter, JobList, JobOrder
from piko.store.reports.overview import Overview
from piko.store.reports.replicas import ReplicaList
from piko.store.reports.runs import RunFilter, RunList
from piko.store.reports.summaries import Summaries
from piko.store.schema.migrate import upgrade
from tests.harness.databases import TestDatabase
from tests.store.making import opened

# A job's runs fill several pages of an index: only then does skipping from job to job save reading any.
_JOBS, _RUNS_EACH = 20, 2000
_FIRST = datetime(2026, 1, 8, tzinfo=UTC)
_LAST = _FIRST + timedelta(minutes=_JOBS * _RUNS_EACH)

# One run in a hundred failed, one in two hundred is a backfill's. The runs of a job are spread over all time.
_HISTORY = f"""
INSERT INTO job_run (run_id, job_id, scheduled_time, state, started_at, finished_at, backfill_id)
SELECT concat('run-', lpad(seq, 8, '0')), concat('job-', seq % {_JOBS}), '2026-01-08' + INTERVAL seq MINUTE,
  IF(seq % 100 = 0, 'FAILED', 'SUCCESS'), '2026-01-08' + INTERVAL seq MINUTE,
  '2026-01-08' + INTERVAL seq MINUTE, IF(seq % 200 = 0, 'backfill', NULL)
FROM seq_1_to_{_JOBS * _RUNS_EACH}
"""
_SCHEDULES = f"""
INSERT INTO scheduled_job (job_id, schedule_type, schedule_expr)
SELECT concat('job-', seq), 'cron', '"@hourly"' FROM seq_0_to_{_JOBS - 1}
"""

_numbers = itertools.count()
_LATELY = _LAST - timedelta(hours=1)
_PLACE = (_LATELY, "run-00000001")
_JOB_IDS = ["job-1", "job-2"]
_READS: dict[str, Callable[[Database], Awaitable[object]]] = {
    "the first runs of a job that failed": lambda database: RunList(database=database).first(
        RunFilter(job_id="job-1", states=("FAILED",)), most=20
    ),
    "attempts": lambda database: Overview(database=database).attempts("job-1", _FIRST),
    "jobs": lambda database: Overview(database=database).jobs(),
    "one job": lambda database: Overview(database=database).job("job-1"),
    "ids of jobs": lambda database: Overview(database=database).job_ids(),
    "schemas": lambda database: Overview(database=database).schemas(_JOB_IDS),
    "what ended": lambda database: RunHistory(database=database).ended_since(_LATELY),
    "states of jobs": lambda database: Summaries(database=database).jobs(_JOB_IDS),
    "recent runs": lambda database: Summaries(database=database).recent_runs(_JOB_IDS),
    "configs": lambda database: Summaries(database=database).configs(_JOB_IDS),
    "revisions": lambda database: Summaries(database=database).revisions(_JOB_IDS),
    "a page of all runs": lambda database: RunList(database=database).page(
        RunFilter(), after=_PLACE, limit=50
    ),
    "a page of the runs that failed or were lost": lambda database: RunList(database=database).page(
        RunFilter(states=("FAILED", "LOST")), after=_PLACE, limit=50
    ),
    "a page of the runs of a job": lambda database: RunList(database=database).page(
        RunFilter(job_id="job-1", states=("FAILED",)), after=_PLACE, limit=50
    ),
    "a page of the runs of a backfill": lambda database: RunList(database=database).page(
        RunFilter(backfill_id="backfill"), after=_PLACE, limit=50
    ),
    "a page of the runs since a moment": lambda database: RunList(database=database).page(
        RunFilter(since=_LATELY), after=None, limit=50
    ),
    "one run": lambda database: RunList(database=database).one("run-00000001"),
    "what needs a person": lambda database: read_facts(database, timezone="UTC", at=_LAST),
    "counters of runs": lambda database: RunList(database=database).counts(since=_LATELY),
    "a page of jobs": lambda database: JobList(database=database).page(
        JobFilter(text="1", late=True), now=_LAST, order=JobOrder.NEXT, after=None, limit=50
    ),
    "counters of jobs": lambda database: JobList(database=database).counts(now=_LAST),
    "replicas": lambda database: ReplicaList(database=database).replicas(),
    "leaders": lambda database: ReplicaList(database=database).leaders(),
    "definitions": lambda database: ReplicaList(database=database).definitions(after="job-1", limit=50),
    "changes": lambda database: ChangeList(database=database).page(after="1", limit=50),
    "changes of a job": lambda database: ChangeList(database=database).page(
        job_id="job-1", after=None, limit=50
    ),
    "backfills": lambda database: BackfillStore(database=database).newest(),
}


@dataclass(frozen=True, slots=True)
class _Statements:
    """What was executed, with its parameters."""

    seen: list[tuple[str, Any]] = field(default_factory=list)

    def note(self, _connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        self.seen.append((statement, parameters))


@pytest.fixture
async def history(mariadb: TestDatabase) -> AsyncIterator[Database]:
    """A database with a long history, and statistics of it."""
    await upgrade(mariadb.dsn)
    for statement in (_SCHEDULES, _HISTORY, "ANALYZE TABLE job_run, scheduled_job"):
        await mariadb.execute(statement)
    async with opened(mariadb) as database:
        yield database


async def test_no_report_scans_the_runs(history: Database) -> None:
    scans = []
    for name, read in _READS.items():
        with _recorded(history) as statements:
            await read(history)
        assert statements.seen, f"{name}: nothing was read"
        for statement, parameters in statements.seen:
            plans = await _plan(history, statement, parameters)
            scans += [(name, plan["type"], statement) for plan in plans if _is_scan(plan)]
    assert scans == []


async def test_a_scan_would_be_seen(history: Database) -> None:
    plans = await _plan(history, "SELECT count(*) FROM job_run WHERE error = 'none'", ())
    assert [plan["type"] for plan in plans] == ["ALL"]


async def test_the_newest_runs_of_all_jobs_are_the_newest_of_all(history: Database) -> None:
    reads = RunList(database=history)
    for most in (1, 7, 1000):
        found = [run.scheduled_time for run in await reads.first(RunFilter(), most=most)]
        assert found == [_LAST - timedelta(minutes=number) for number in range(most)]
    since = await reads.first(RunFilter(since=_LATELY), most=1000)
    assert [run.scheduled_time for run in since] == [_LAST - timedelta(minutes=n) for n in range(61)]


def _is_scan(plan: dict[str, Any]) -> bool:
    """ALL reads every row, `index` the whole of an index: both grow with the history."""
    return plan["table"] == "job_run" and plan["type"] in ("ALL", "index")


@contextmanager
def _recorded(database: Database) -> Iterator[_Statements]:
    statements, engine = _Statements(), database.autocommit.sync_engine
    event.listen(engine, "before_cursor_execute", statements.note)
    try:
        yield statements
    finally:
        event.remove(engine, "before_cursor_execute", statements.note)


async def _plan(database: Database, statement: str, parameters: Any) -> list[dict[str, Any]]:
    """How the server reads each table; planned afresh, which a statement that it has prepared is not."""
    once = f"EXPLAIN /* {next(_numbers)} */ {statement}"
    async with database.statements() as connection:
        rows = await connection.exec_driver_sql(once, parameters)
        return [dict(row) for row in rows.mappings()]
