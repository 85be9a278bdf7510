"""`/acts/pause`, `/resume`, `/cancel` and `/retry`: one act on all that the filters of a list leave."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from piko.steering import bulk, shell
from piko.web.asked import Act
from piko.web.pages.acting import Doing, PageAct, answer
from piko.web.pages.query import Form
from piko.web.request import AtClock, OnDatabase
from piko.web.routes.job_acts import Pause
from piko.web.routes.jobs import JobQuery
from piko.web.routes.runs import RunQuery
from piko.web.views import acts
from piko.web.views.acts import REASON, ActForm, Effect, FieldKind, FormField

router = APIRouter(include_in_schema=False)

_UNTIL = FormField(
    name="until", label="Until (UTC)", hint="The leader resumes them then.", kind=FieldKind.INSTANT
)


@router.get("/acts/{verb}/jobs")
@router.post("/acts/{verb}/jobs")
async def act_on_jobs(
    request: Request,
    verb: Literal["pause", "resume"],
    query: Annotated[JobQuery, Query()],
    database: OnDatabase,
    clock: AtClock,
) -> Response:
    """The form of an act on many jobs, its dry run, and the act."""
    wanted, chosen, enabled = query.filter(), Form.of(query), verb == "resume"

    async def perform(act: Pause, doing: Doing) -> Effect:
        results = await bulk.set_enabled(
            database,
            wanted,
            enabled=enabled,
            until=act.until,
            now=clock.now(),
            actor=doing.actor,
            dry_run=doing.dry_run,
        )
        return _effect(
            results,
            "resumed" if enabled else "paused",
            doing,
            what="job",
            line=shell.of_jobs(verb, wanted, reason=act.reason, until=act.until),
            leads_to=chosen.link("jobs"),
        )

    form = ActForm(
        verb=verb.capitalize(),
        subject=f"jobs where {chosen.said}",
        back=chosen.link("jobs"),
        says=f"Every job that these filters leave when you confirm, at most {shell.MOST:,}.",
        shell=shell.of_jobs(verb, wanted, reason=None),
        fields=(REASON,) if enabled else (_UNTIL, REASON),
    )
    return await answer(request, PageAct(form=form, takes=Pause, perform=perform))


@router.get("/acts/{verb}/runs")
@router.post("/acts/{verb}/runs")
async def act_on_runs(
    request: Request,
    verb: bulk.RunVerb,
    query: Annotated[RunQuery, Query()],
    database: OnDatabase,
    clock: AtClock,
) -> Response:
    """The form of an act on many runs, its dry run, and the act."""
    wanted, chosen = query.filter(), Form.of(query)

    async def perform(act: Act, doing: Doing) -> Effect:
        results = await bulk.on_runs(
            database, wanted, verb, clock=clock, actor=doing.actor, dry_run=doing.dry_run
        )
        return _effect(
            results,
            "cancelled" if verb == "cancel" else "queued again",
            doing,
            what="run",
            line=shell.of_runs(verb, wanted, reason=act.reason),
            leads_to=chosen.link("runs"),
        )

    form = ActForm(
        verb="Cancel" if verb == "cancel" else "Run again",
        subject=f"runs where {chosen.said}",
        back=chosen.link("runs"),
        says=f"Every run that these filters leave when you confirm, at most {shell.MOST:,}.",
        shell=shell.of_runs(verb, wanted, reason=None),
        fields=(REASON,),
        ends=verb == "cancel",
    )
    return await answer(request, PageAct(form=form, takes=Act, perform=perform))


def _effect(
    results: list[bulk.ItemResult], word: str, doing: Doing, *, what: str, line: str, leads_to: str
) -> Effect:
    return Effect(
        sentences=acts.many(results, word, dry_run=doing.dry_run, what=what),
        shell=line,
        leads_to=leads_to,
        nothing=not any(item.result == "changed" for item in results),
        results=tuple(results),
    )
