"""`/`: the first sight."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.store.reports.installation import Installation
from piko.store.reports.jobs import JobFilter, JobList, JobOrder
from piko.store.reports.jobs_in_need import jobs_in_need
from piko.store.reports.runs import RunList
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase
from piko.web.views import front

router = APIRouter(include_in_schema=False)

_SHOWN = 50
_COMING = 8
_LATELY = timedelta(days=1)


@router.get("/")
async def first_sight(request: Request, database: OnDatabase, clock: AtClock) -> Response:
    """Who leads, what there is, and what needs someone."""
    now, installation, jobs = clock.now(), Installation(database=database), JobList(database=database)
    leaders, server = await installation.leaders()
    replicas = await installation.replicas()
    counts = await jobs.counts(now=now)
    runs = await RunList(database=database).counts(since=now - _LATELY)
    found, coming = [], []
    if front.needs_someone(counts):
        found = await jobs_in_need(database, now=now, limit=_SHOWN + 1)
    else:
        coming = await jobs.page(
            JobFilter(enabled=True), now=now, order=JobOrder.NEXT, after=None, limit=_COMING
        )
    return render(
        request,
        "front.html",
        parts_shown=[
            *front.leader_parts(leaders, now),
            front.replica_part(replicas),
            *front.server_parts(server, now),
        ],
        counters=front.counters(counts, runs),
        needs=[front.need(job, now) for job in found[:_SHOWN]],
        more=len(found) > _SHOWN,
        coming=[front.coming(job, now) for job in coming if job.next_run_at is not None],
        jobs=counts.jobs,
    )
