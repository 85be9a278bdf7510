"""`/backfills` and `/backfills/{backfill_id}`: the requests, and one of them as a grid of its windows."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from piko.errors import NotFoundError
from piko.store.backfills import BackfillStore
from piko.store.reports.runs import RunFilter, RunList
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase
from piko.web.views import acts, links
from piko.web.views import backfills as view

router = APIRouter(include_in_schema=False)

BackfillId = Annotated[str, Path(max_length=64, pattern=r"^[\x21-\x7e]+$")]
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
    matching = await BackfillStore(database=database).matching(backfill_id)
    found = next((item for item in matching if item.backfill_id == backfill_id), None)
    if found is None:
        raise NotFoundError(f"no backfill {backfill_id!r}; `piko backfill list` shows what there is")
    runs = await RunList(database=database).first(RunFilter(backfill_id=backfill_id), most=_WINDOWS)
    return render(
        request,
        "backfill.html",
        backfill=found,
        line=view.backfill_line(found, clock.now()),
        cells=view.cells(runs),
        acts=acts.backfill_acts(found),
        notice=acts.notice(request.query_params.get(acts.NOTICE)),
        rest=view.not_claimed(found, runs),
        runs=links.with_query("runs", [("backfill", backfill_id)]),
        full=len(runs) == _WINDOWS,
    )
