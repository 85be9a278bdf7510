"""`/jobs/{job_id}/why`: why a job does not run now, or what happened to one of its due times."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.steering import shell
from piko.store.reports.explanations import explain_job
from piko.text import instant_text
from piko.web.rendering import render
from piko.web.request import DefaultZone, JobId, OnDatabase
from piko.web.routes.job_explain import At
from piko.web.views import why

router = APIRouter(include_in_schema=False)


@router.get("/jobs/{job_id}/why")
async def why_not(
    request: Request, job_id: JobId, database: OnDatabase, timezone: DefaultZone, at: At = None
) -> Response:
    """Each reason in a sentence, what cures it, and the run that says it."""
    explained = await explain_job(database, job_id, at=at, timezone=timezone)
    words = [job_id] if at is None else [job_id, instant_text(at)]
    return render(
        request, "why.html", why=why.why_view(explained), job_id=job_id, shell=shell.command("why", *words)
    )
