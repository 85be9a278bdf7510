"""`/replicas`: who leads, and which replicas there are."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.store.reports.installation import Installation
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase
from piko.web.views import front, replicas

router = APIRouter(include_in_schema=False)


@router.get("/replicas")
async def list_replicas(request: Request, database: OnDatabase, clock: AtClock) -> Response:
    """The leases of leadership, and the replicas of the last hour."""
    now, installation = clock.now(), Installation(database=database)
    leaders, server = await installation.leaders()
    found = await installation.replicas()
    return render(
        request,
        "replicas.html",
        parts_shown=[*front.leader_parts(leaders, now), *front.server_parts(server, now)],
        lines=[replicas.replica_line(item, leaders, now) for item in found],
    )
