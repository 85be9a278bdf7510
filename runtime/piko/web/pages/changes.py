"""`/changes`: who changed what, of one job or of all."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from piko.web.pages.query import Form
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase
from piko.web.routes.changes import ChangeQuery, page_of
from piko.web.views.changes import change_line

router = APIRouter(include_in_schema=False)


@router.get("/changes")
async def list_changes(
    request: Request, query: Annotated[ChangeQuery, Query()], database: OnDatabase, clock: AtClock
) -> Response:
    """Changes, the newest first; the job and the place are in the address."""
    now, form = clock.now(), Form.of(query)
    page = await page_of(database, query)
    return render(
        request,
        "changes.html",
        lines=[change_line(change, now) for change in page.items],
        query=query,
        filtered=form.filtered,
        next=page.next and form.link("changes", cursor=page.next),
        first=form.link("changes") if query.cursor else None,
    )
