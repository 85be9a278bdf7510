"""`/runs`: attempts at due times."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from piko.core.types import RunState
from piko.store.engine import Database
from piko.store.reports.overview import Overview, RunReport, unknown_job, unknown_run
from piko.store.reports.periods import COUNTED, RunSum, sum_page
from piko.store.reports.runs import RunCounts, RunFilter, RunKey, RunList
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import IDS, JOBS, AtClock, Instant, OnDatabase, RunId

router = APIRouter(tags=["runs"])

_LATELY = timedelta(days=1)


class RunQuery(BaseModel):
    """Which runs. Filters that are given all apply."""

    job: str | None = Field(None, max_length=128, pattern=JOBS, description="Runs of this job.")
    state: list[RunState] = Field([], max_length=9, description="Runs in one of these states.")
    backfill: str | None = Field(None, max_length=64, pattern=IDS, description="Runs of this backfill.")
    since: Instant | None = Field(None, description="Due at this instant or later.")
    until: Instant | None = Field(None, description="Due before this instant.")

    def filter(self) -> RunFilter:
        """What the store is asked for."""
        return RunFilter(
            job_id=self.job,
            states=tuple(self.state),
            backfill_id=self.backfill,
            since=self.since,
            until=self.until,
        )


class RunListQuery(RunQuery):
    """A page of runs."""

    cursor: Cursor = None
    limit: Limit = 50


class ReportQuery(BaseModel):
    """A part of the runs that were due in a period."""

    since: Instant = Field(description="Due at this instant or later.")
    until: Instant = Field(description="Due before this instant.")
    job: str | None = Field(None, max_length=128, pattern=JOBS, description="Runs of this job.")
    cursor: Cursor = None
    limit: int = Field(COUNTED, ge=1, le=COUNTED, description="How many runs a page adds up.")


@router.get("/runs", responses={404: {"description": "There is no such job."}})
async def list_runs(query: Annotated[RunListQuery, Query()], database: OnDatabase) -> Page[RunReport]:
    """Runs, the newest due time first, a page at a time.

    A page of the runs of one job or backfill in some states may be short, and even empty, where there are
    more: it looks at 5,000 runs. `next` says whether there are.
    """
    page = await page_of(database, query)
    none = not page.items and page.next is None
    if none and query.job is not None and await Overview(database=database).job(query.job) is None:
        raise await unknown_job(database, query.job)
    return page


@router.get("/runs:counts")
async def count_runs(database: OnDatabase, clock: AtClock) -> RunCounts:
    """Runs that have not ended, and records of due times that were missed within a day."""
    return await RunList(database=database).counts(since=clock.now() - _LATELY)


@router.get("/runs:report")
async def report_runs(query: Annotated[ReportQuery, Query()], database: OnDatabase) -> Page[RunSum]:
    """What was due in a period, added up by job and state, the newest runs first.

    A page adds up `limit` runs; a job may be in several pages, whose sums add up to those of the period.
    """
    wanted = RunFilter(job_id=query.job, since=query.since, until=query.until)
    after = paging.key_of(query.cursor, filters=wanted, read=_read_key)
    page = await sum_page(database, wanted, after=after, limit=query.limit)
    key = None if page.next is None else paging.plain(page.next)
    return paging.page_before(page.sums, key, filters=wanted)


@router.get("/runs/{run_id}")
async def one_run(run_id: RunId, database: OnDatabase) -> RunReport:
    """One run."""
    found = await RunList(database=database).one(run_id)
    if found is None:
        raise unknown_run(run_id)
    return found


@router.get("/runs/{run_id}/attempts")
async def attempts(run_id: RunId, database: OnDatabase) -> list[RunReport]:
    """Every run for the due time of this one, in the order in which they were queued."""
    found = await one_run(run_id, database)
    return await Overview(database=database).attempts(found.job_id, found.scheduled_time)


async def page_of(database: Database, query: RunListQuery) -> Page[RunReport]:
    """The page that `query` asks for. Raises `ProblemError` if its cursor is another list's."""
    wanted = query.filter()
    after = paging.key_of(query.cursor, filters=wanted, read=_read_key)
    found = await RunList(database=database).page(wanted, after=after, limit=query.limit)
    key = None if found.next is None else paging.plain(found.next)
    return paging.page_before(found.runs, key, filters=wanted)


def _read_key(key: paging.Key) -> RunKey:
    """Where in a list the run of a cursor's `key` stands."""
    return paging.moment(key[0]), str(key[1])
