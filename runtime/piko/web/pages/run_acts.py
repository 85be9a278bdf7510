"""`/runs/{run_id}/cancel` and `/retry`: what people do to one run, as forms."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.steering import runs, shell
from piko.web.asked import Act
from piko.web.pages.acting import Doing, PageAct, answer
from piko.web.request import AtClock, OnDatabase, RunId
from piko.web.routes.runs import one_run
from piko.web.views import acts, links
from piko.web.views.acts import REASON, ActForm, Effect

router = APIRouter(include_in_schema=False)


@router.get("/runs/{run_id}/{verb}")
@router.post("/runs/{run_id}/{verb}")
async def act_on_run(
    request: Request,
    run_id: RunId,
    verb: Literal["cancel", "retry"],
    database: OnDatabase,
    clock: AtClock,
) -> Response:
    """The form of an act, its dry run, and the act."""
    found = await one_run(run_id, database)

    async def perform(act: Act, doing: Doing) -> Effect:
        do = runs.cancel if verb == "cancel" else runs.retry
        run = await do(database, run_id, clock=clock, actor=doing.actor, dry_run=doing.dry_run)
        return Effect(
            sentences=acts.cancelled(run) if verb == "cancel" else acts.queued(run),
            shell=shell.command("runs", verb, run_id, reason=act.reason),
            leads_to=links.run(run_id if verb == "cancel" else run.run_id),
            done="cancelled" if verb == "cancel" else "queued",
        )

    says = {
        "cancel": "It ends as CANCELLED, whether it waits or runs.",
        "retry": "It is queued again for the same due time and window, as the next attempt.",
    }
    form = ActForm(
        verb="Cancel" if verb == "cancel" else "Run again",
        subject=f"{found.job_id}, run {run_id}",
        back=links.run(run_id),
        says=says[verb],
        shell=shell.command("runs", verb, run_id),
        fields=(REASON,),
        ends=verb == "cancel",
    )
    return await answer(request, PageAct(form=form, takes=Act, perform=perform))
