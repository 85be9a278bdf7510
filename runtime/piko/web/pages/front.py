"""`/`: the first sight."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.store.reports.attention import read_facts
from piko.store.reports.troubles import troubles
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
    facts = await read_facts(database, timezone=timezone, at=now, most=_SHOWN, coming=_COMING)
    found = troubles(facts)
    return render(
        request,
        "front.html",
        parts_shown=[
            *front.leader_parts(facts.leaders, now),
            front.replica_part(facts.replicas),
            *front.server_parts(facts.server, now),
        ],
        counters=front.counters(facts.jobs, facts.runs, facts.replicas),
        needs=[front.need(trouble, now) for trouble in found[:_SHOWN]],
        more=len(found) > _SHOWN or facts.next is not None,
        coming=[front.coming(job, now) for job in facts.coming],
        jobs=facts.jobs.jobs,
    )
