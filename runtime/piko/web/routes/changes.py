"""`/changes` and `/jobs/{id}/changes`: who changed what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from piko.model.changes import LoggedChange
from piko.store.engine import Database
from piko.store.reports.changes import ChangeList
from piko.store.reports.overview import Overview, unknown_job
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import JobId, OnDatabase

router = APIRouter(tags=["changes"])


@router.get("/changes")
async def list_changes(
    database: OnDatabase,
    job: Annotated[str | None, Query(max_length=128, description="Changes of this job.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LoggedChange]:
    """Changes, the newest first, a page at a time."""
    return await _page(database, job, cursor, limit)


@router.get("/jobs/{job_id}/changes")
async def list_changes_of_a_job(
    job_id: JobId, database: OnDatabase, cursor: Cursor = None, limit: Limit = 50
) -> Page[LoggedChange]:
    """Changes of one job, the newest first, a page at a time; those of a deleted job, too."""
    page = await _page(database, job_id, cursor, limit)
    if not page.items and await Overview(database=database).job(job_id) is None:
        raise await unknown_job(database, job_id)
    return page


async def _page(database: Database, job: str | None, cursor: str | None, limit: int) -> Page[LoggedChange]:
    after = paging.key_of(cursor, filters=job, read=lambda key: str(key[0]))
    found = await ChangeList(database=database).page(job_id=job, after=after, limit=limit + 1)
    return paging.page_of(found, limit, key=lambda change: [change.change_id], filters=job)
