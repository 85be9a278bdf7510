"""`/replicas`: who leads, and which replicas there are."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.store.reports.replicas import ReplicaList
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase
from piko.web.views import front, replicas

router = APIRouter(include_in_schema=False)

_LATELY = timedelta(hours=1)
_SHOWN = 100


@router.get("/replicas")
async def list_replicas(request: Request, database: OnDatabase, clock: AtClock) -> Response:
    """The leases of leadership, and the replicas of the last hour."""
    now, reads = clock.now(), ReplicaList(database=database)
    leaders, server = await reads.leaders()
    found = await reads.replicas(since=server.now - _LATELY, most=_SHOWN + 1)
    return render(
        request,
        "replicas.html",
        parts_shown=[*front.leader_parts(leaders, now), *front.server_parts(server, now)],
        lines=[replicas.replica_line(item, leaders, now) for item in found[:_SHOWN]],
        more=len(found) > _SHOWN,
    )
