"""`/jobs`: schedules' rows, what the leader says of them, and what they mean."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from piko.core.types import JobStatus
from piko.store.engine import Database
from piko.store.reports.jobs import JobCounts, JobFilter, JobKey, JobList, JobOrder, RowOwner, key_of
from piko.store.reports.overview import JobReport, Overview, unknown_job
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import AtClock, JobId, OnDatabase, row_tag

router = APIRouter(tags=["jobs"])

_TAG = {"description": "Names the state of the row, for `If-Match`.", "schema": {"type": "string"}}
_WITH_TAG: dict[int | str, dict[str, Any]] = {200: {"headers": {"ETag": _TAG}}}


class JobQuery(BaseModel):
    """Which jobs, and in which order. Filters that are given all apply."""

    text: str | None = Field(None, max_length=128, description="Part of the id.")
    state: list[JobStatus] = Field([], max_length=6, description="What the leader says of the job.")
    late: bool | None = Field(None, description="Its next due time has passed, and nothing has claimed it.")
    failing: bool | None = Field(None, description="Its last run did not succeed.")
    enabled: bool | None = Field(None, description="Whether its schedule is not paused.")
    owner: RowOwner | None = Field(None, description="Who owns its row.")
    namespace: str | None = Field(None, max_length=63, description="Namespace of the resource that owns it.")

    def filter(self) -> JobFilter:
        """What the store is asked for."""
        return JobFilter(
            text=self.text,
            states=tuple(self.state),
            late=self.late,
            failing=self.failing,
            enabled=self.enabled,
            owner=self.owner,
            namespace=self.namespace,
        )


class JobListQuery(JobQuery):
    """A page of jobs."""

    sort: JobOrder = Field(JobOrder.JOB_ID, description="The order of the list.")
    total: bool = Field(False, description="Also count the jobs that the filters leave.")
    cursor: Cursor = None
    limit: Limit = 50


@router.get("/jobs")
async def list_jobs(
    query: Annotated[JobListQuery, Query()], database: OnDatabase, clock: AtClock
) -> Page[JobReport]:
    """Jobs, a page at a time."""
    return await page_of(database, query, now=clock.now(), counted=query.total)


@router.get("/jobs:counts")
async def count_jobs(database: OnDatabase, clock: AtClock) -> JobCounts:
    """How many jobs there are, and how many of them need someone."""
    return await JobList(database=database).counts(now=clock.now())


@router.get("/jobs/{job_id}", responses=_WITH_TAG)
async def one_job(job_id: JobId, database: OnDatabase, response: Response) -> JobReport:
    """One job; `ETag` names the state of its row, for `If-Match`."""
    found = await Overview(database=database).job(job_id)
    if found is None:
        raise await unknown_job(database, job_id)
    response.headers["ETag"] = row_tag(found.version, found.updated_at)
    return found


async def page_of(
    database: Database, query: JobListQuery, *, now: datetime, counted: bool
) -> Page[JobReport]:
    """The page that `query` asks for, with how many jobs its filters leave if that is to be `counted`.

    `now`: by which jobs are late. Raises `ProblemError` if the cursor is another list's.
    """
    wanted, order, reads = query.filter(), query.sort, JobList(database=database)
    after = paging.key_of(query.cursor, filters=(wanted, order), read=lambda key: _read_key(order, key))
    found = await reads.page(wanted, now=now, order=order, after=after, limit=query.limit + 1)
    page = paging.page_of(
        found, query.limit, key=lambda job: paging.plain(key_of(job, order)), filters=(wanted, order)
    )
    if counted:
        page.total = await reads.count(wanted, now=now)
    return page


def _read_key(order: JobOrder, key: paging.Key) -> JobKey:
    """Where in a list of `order` the job of a cursor's `key` stands."""
    return _value(order, key[0]), str(key[1])


def _value(order: JobOrder, part: paging.Part) -> datetime | int | None:
    if order is JobOrder.FAILURES:
        return int(str(part))
    return None if part is None else paging.moment(part)
