"""`/`: the first sight."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.store.reports.attention import read_facts
from piko.store.reports.findings import findings
from piko.store.reports.jobs import JobFilter, JobList, JobOrder
from piko.web.rendering import render
from piko.web.request import AtClock, DefaultZone, OnDatabase
from piko.web.views import front

router = APIRouter(include_in_schema=False)

_SHOWN = 50
_COMING = 8


@router.get("/")
async def first_sight(
    request: Request, database: OnDatabase, clock: AtClock, timezone: DefaultZone
) -> Response:
    """Who leads, what there is, and what needs someone."""
    now = clock.now()
    facts = await read_facts(database, at=now)
    concerns, coming = findings(facts, timezone=timezone), []
    if not concerns:
        coming = await JobList(database=database).page(
            JobFilter(enabled=True), now=now, order=JobOrder.NEXT, after=None, limit=_COMING
        )
    return render(
        request,
        "front.html",
        parts_shown=[
            *front.leader_parts(facts.leaders, now),
            front.replica_part(facts.replicas),
            *front.server_parts(facts.server, now),
        ],
        counters=front.counters(facts.jobs, facts.runs),
        needs=[front.need(concern, now) for concern in concerns[:_SHOWN]],
        more=len(concerns) > _SHOWN,
        coming=[front.coming(job, now) for job in coming if job.next_run_at is not None],
        jobs=facts.jobs.jobs,
    )
