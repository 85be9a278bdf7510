"""`/jobs/{id}/explain`: why a job does not run now, or what happened to one of its due times."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from piko.store.reports.explanations import JobExplanation, explain_job
from piko.web.request import DefaultZone, Instant, JobId, OnDatabase

router = APIRouter(tags=["jobs"])

At = Annotated[
    Instant | None,
    Query(description="A due time, which of a stateful job is the end of a window; none: now."),
]


@router.get("/jobs/{job_id}/explain")
async def explain(job_id: JobId, database: OnDatabase, zone: DefaultZone, at: At = None) -> JobExplanation:
    """Each reason with its kind, what cures it and the run that says it, as `piko why` has them."""
    return await explain_job(database, job_id, at=at, timezone=zone)
