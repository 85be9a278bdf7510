"""`/jobs` and `/jobs/{job_id}`: the list of jobs, and one of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from piko.core.types import JobStatus
from piko.store.reports.config_history import revisions_of
from piko.store.reports.jobs import JobOrder, RowOwner
from piko.store.reports.overview import Overview, unknown_job
from piko.store.reports.runs import RunFilter, RunList
from piko.store.reports.standing import standing_of
from piko.store.schedules import ScheduleStore
from piko.web.pages.query import Form
from piko.web.rendering import render
from piko.web.request import AtClock, DefaultZone, JobId, OnDatabase
from piko.web.routes.jobs import JobListQuery, page_of
from piko.web.views import acts, links
from piko.web.views import job as job_view
from piko.web.views.configs import history
from piko.web.views.jobs import job_line, mark_of
from piko.web.views.runs import bars, run_line
from piko.web.views.standing import stages
from piko.web.views.words import first_line, owner

router = APIRouter(include_in_schema=False)

_RUNS = 50
_LISTED = 10


@router.get("/jobs")
async def list_jobs(
    request: Request, query: Annotated[JobListQuery, Query()], database: OnDatabase, clock: AtClock
) -> Response:
    """Jobs, a page at a time; filters, order and place are in the address."""
    now = clock.now()
    page = await page_of(database, query, now=now, counted=True)
    form = Form.of(query)
    return render(
        request,
        "jobs.html",
        lines=[job_line(job, now) for job in page.items],
        total=page.total,
        query=query,
        filtered=form.filtered,
        pause_all=form.link("acts/pause/jobs"),
        resume_all=form.link("acts/resume/jobs"),
        next=page.next and form.link("jobs", cursor=page.next),
        first=form.link("jobs") if query.cursor else None,
        statuses=list(JobStatus),
        orders=list(JobOrder),
        owners=list(RowOwner),
    )


@router.get("/jobs/{job_id}")
async def one_job(
    request: Request, job_id: JobId, database: OnDatabase, clock: AtClock, timezone: DefaultZone
) -> Response:
    """One job: its schedule, its progress, its runs, its config."""
    now = clock.now()
    job = await Overview(database=database).job(job_id)
    standing = await standing_of(database, job_id)
    rows = await ScheduleStore(database=database).read([job_id])
    if job is None or standing is None or not rows:
        raise await unknown_job(database, job_id)
    runs = await RunList(database=database).first(RunFilter(job_id=job_id), most=_RUNS)
    revisions = await revisions_of(database, job_id)
    shown = history(revisions, now)
    return render(
        request,
        "job.html",
        job=job,
        mark=mark_of(job, now),
        owner=owner(job.managed_by),
        schedule=job_view.schedule_view(rows[0], timezone=timezone, now=now),
        options=job_view.options(rows[0]),
        acts=acts.job_acts(job, revisions=len(revisions)),
        notice=acts.notice(request.query_params.get(acts.NOTICE)),
        progress=job_view.progress(job, now),
        bars=bars(runs),
        lines=[run_line(run, now) for run in runs[:_LISTED]],
        all_runs=links.with_query("runs", [("job", job_id)]),
        refused=links.letters(job=job_id),
        changes=links.with_query("changes", [("job", job_id)]),
        stages=stages(standing, revisions, now),
        standing=standing,
        history=shown,
        older=len(revisions) - len(shown),
        message=first_line(job.message) if job.message else "",
        failed_run=next((links.run(run.run_id) for run in runs if run.error), None),
    )
