"""`/changes`: who changed what."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from piko.model.changes import LoggedChange
from piko.store.reports.changes import ChangeList
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import OnDatabase

router = APIRouter(tags=["changes"])


@router.get("/changes")
async def list_changes(
    database: OnDatabase,
    job: Annotated[str | None, Query(max_length=128, description="Changes of this job.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[LoggedChange]:
    """Changes, the newest first, a page at a time."""
    after = paging.key_of(cursor, filters=job, read=lambda key: str(key[0]))
    found = await ChangeList(database=database).page(job_id=job, after=after, limit=limit + 1)
    return paging.page_of(found, limit, key=lambda change: [change.change_id], filters=job)
