"""`/rows`: the rows of jobs as they were written, and what of them is in force."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from piko.store.reports.job_rows import JobRows, RowList
from piko.web import paging
from piko.web.paging import Cursor, Limit, Page
from piko.web.request import JOBS, OnDatabase

router = APIRouter(tags=["jobs"])

_MOST_NAMED = 100


@router.get("/rows")
async def list_rows(
    database: OnDatabase,
    job: Annotated[
        list[Annotated[str, Field(max_length=128, pattern=JOBS)]],
        Query(max_length=_MOST_NAMED, description="Only these jobs."),
    ] = [],  # noqa: B006 FastAPI copies it
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[JobRows]:
    """Rows of `scheduled_job` and `job_config` by job, as `piko export` and `piko diff` read them.

    Secrets are not shown. A job that has neither row is left out.
    """
    wanted = tuple(sorted(set(job)))
    after = paging.key_of(cursor, filters=wanted, read=lambda key: str(key[0]))
    reads = RowList(database=database)
    if wanted:
        rest = [job_id for job_id in wanted if after is None or job_id > after]
        found = await reads.of(rest[: limit + 1]) if rest else []
    else:
        found = await reads.page(after=after, limit=limit + 1)
    return paging.page_of(found, limit, key=lambda rows: [rows.job_id], filters=wanted)
