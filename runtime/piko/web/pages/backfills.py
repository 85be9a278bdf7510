"""`/backfills` and `/backfills/{backfill_id}`: the requests, and one of them as a grid of its windows."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.steering.backfills import find as find_backfill
from piko.store.backfills import BackfillStore
from piko.store.reports.runs import RunFilter, RunList
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase
from piko.web.routes.backfills import BackfillId
from piko.web.views import acts, links
from piko.web.views import backfills as view

router = APIRouter(include_in_schema=False)

_NEWEST = 100
_WINDOWS = 336


@router.get("/backfills")
async def list_backfills(request: Request, database: OnDatabase, clock: AtClock) -> Response:
    """The newest requests first."""
    found = await BackfillStore(database=database).newest(limit=_NEWEST)
    now = clock.now()
    return render(
        request, "backfills.html", lines=[view.backfill_line(item, now) for item in found], most=_NEWEST
    )


@router.get("/backfills/{backfill_id}")
async def one_backfill(
    request: Request, backfill_id: BackfillId, database: OnDatabase, clock: AtClock
) -> Response:
    """One request, and the windows of it that have been claimed."""
    found = await find_backfill(database, backfill_id)
    runs = await RunList(database=database).first(RunFilter(backfill_id=found.backfill_id), most=_WINDOWS)
    return render(
        request,
        "backfill.html",
        backfill=found,
        line=view.backfill_line(found, clock.now()),
        cells=view.cells(runs),
        acts=acts.backfill_acts(found),
        notice=acts.notice(request.query_params.get(acts.NOTICE)),
        rest=view.not_claimed(found, runs),
        runs=links.with_query("runs", [("backfill", found.backfill_id)]),
        full=len(runs) == _WINDOWS,
    )
