"""`/runs` and `/runs/{run_id}`: the list of runs, and one of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from piko.core.types import RunState
from piko.store.reports import runs as run_lists
from piko.store.reports.dead_letters import DeadLetterList, LetterFilter
from piko.store.reports.overview import Overview
from piko.store.reports.run_logs import RunLogReader
from piko.web.pages.query import Form
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase, RunId
from piko.web.routes.runs import RunListQuery, page_of
from piko.web.routes.runs import one_run as find_run
from piko.web.views import acts, links, sinks
from piko.web.views import run_log as log_view
from piko.web.views import runs as runs_view
from piko.web.views.words import first_line, run_mark

router = APIRouter(include_in_schema=False)

_LETTERS = 10


@router.get("/runs")
async def list_runs(
    request: Request, query: Annotated[RunListQuery, Query()], database: OnDatabase, clock: AtClock
) -> Response:
    """Runs, the newest due time first; filters and place are in the address."""
    now, form = clock.now(), Form.of(query)
    page = await page_of(database, query)
    return render(
        request,
        "runs.html",
        lines=[runs_view.run_line(run, now) for run in page.items],
        query=query,
        filtered=form.filtered,
        cancel_all=form.link("acts/cancel/runs"),
        retry_all=form.link("acts/retry/runs"),
        looked=f"{run_lists.LOOKED:,}",
        next=page.next and form.link("runs", cursor=page.next),
        first=form.link("runs") if query.cursor else None,
        states=list(RunState),
    )


@router.get("/runs/{run_id}")
async def one_run(request: Request, run_id: RunId, database: OnDatabase, clock: AtClock) -> Response:
    """One run, its error, what it logged, and the other attempts at its due time."""
    now = clock.now()
    run = await find_run(run_id, database)
    said = await RunLogReader(database=database).of_run(run_id)
    attempts = await Overview(database=database).attempts(run.job_id, run.scheduled_time)
    letters = await DeadLetterList(database=database).page(
        LetterFilter(run_id=run_id), after=None, limit=_LETTERS + 1
    )
    return render(
        request,
        "run.html",
        run=run,
        mark=run_mark(run.state, count=run.missed_count),
        job=links.job(run.job_id),
        facts=runs_view.facts(run, now),
        headline=first_line(run.error),
        acts=acts.run_acts(run),
        notice=acts.notice(request.query_params.get(acts.NOTICE)),
        attempts=[runs_view.run_line(item, now) for item in attempts],
        letters=[sinks.letter_line(item, now) for item in letters[:_LETTERS]],
        letters_link=links.letters(run=run_id),
        more_letters=len(letters) > _LETTERS,
        result=log_view.result(said),
        progress="" if said is None else said.progress,
        log="" if said is None else log_view.text(said),
        follow=log_view.follow(run, said),
    )
