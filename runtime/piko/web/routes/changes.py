"""`/changes` and `/jobs/{id}/changes`: who changed what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from piko.model.changes import LoggedChange
from piko.store.engine import Database
from piko.store.reports.changes import ChangeList
from piko.store.reports.overview import Overview, unknown_job
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import JOBS, JobId, OnDatabase

router = APIRouter(tags=["changes"])


class ChangeQuery(BaseModel):
    """A page of changes."""

    job: str | None = Field(None, max_length=128, pattern=JOBS, description="Changes of this job.")
    cursor: Cursor = None
    limit: Limit = 50


@router.get("/changes")
async def list_changes(query: Annotated[ChangeQuery, Query()], database: OnDatabase) -> Page[LoggedChange]:
    """Changes, the newest first, a page at a time."""
    return await page_of(database, query)


@router.get("/jobs/{job_id}/changes")
async def list_changes_of_a_job(
    job_id: JobId, database: OnDatabase, cursor: Cursor = None, limit: Limit = 50
) -> Page[LoggedChange]:
    """Changes of one job, the newest first, a page at a time; those of a deleted job, too."""
    page = await page_of(database, ChangeQuery(job=job_id, cursor=cursor, limit=limit))
    if not page.items and await Overview(database=database).job(job_id) is None:
        raise await unknown_job(database, job_id)
    return page


async def page_of(database: Database, query: ChangeQuery) -> Page[LoggedChange]:
    """The page that `query` asks for. Raises `ProblemError` if its cursor is another list's."""
    after = paging.key_of(query.cursor, filters=query.job, read=lambda key: str(key[0]))
    found = await ChangeList(database=database).page(job_id=query.job, after=after, limit=query.limit + 1)
    return paging.page_of(found, query.limit, key=lambda change: [change.change_id], filters=query.job)
