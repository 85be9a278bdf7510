"""`/backfills/{backfill_id}/pause`, `/resume` and `/cancel`: what people do to a backfill, as forms."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from piko.steering import backfills, shell
from piko.web.asked import Act
from piko.web.pages.acting import Doing, PageAct, answer
from piko.web.request import AtClock, OnDatabase
from piko.web.routes.backfills import BackfillId
from piko.web.views import acts, links
from piko.web.views.acts import REASON, ActForm, Effect

router = APIRouter(include_in_schema=False)


@router.get("/backfills/{backfill_id}/{verb}")
@router.post("/backfills/{backfill_id}/{verb}")
async def act_on_backfill(
    request: Request,
    backfill_id: BackfillId,
    verb: backfills.BackfillVerb,
    database: OnDatabase,
    clock: AtClock,
) -> Response:
    """The form of an act, its dry run, and the act."""
    found = await backfills.find(database, backfill_id)
    place = links.backfill(found.backfill_id)

    async def perform(act: Act, doing: Doing) -> Effect:
        changed = await backfills.change_state(
            database,
            found.backfill_id,
            to=backfills.STATES[verb],
            clock=clock,
            actor=doing.actor,
            dry_run=doing.dry_run,
        )
        return Effect(
            sentences=acts.steered(changed, verb),
            shell=shell.command("backfill", verb, found.backfill_id, reason=act.reason),
            leads_to=place,
            done="changed",
        )

    says = {
        "pause": "It starts no further windows.",
        "resume": "It goes on where it stopped.",
        "cancel": "It ends, with its runs. It cannot be resumed.",
    }
    form = ActForm(
        verb=verb.capitalize(),
        subject=f"the backfill of {found.job_id}",
        back=place,
        says=says[verb],
        shell=shell.command("backfill", verb, found.backfill_id),
        fields=(REASON,),
        ends=verb == "cancel",
    )
    return await answer(request, PageAct(form=form, takes=Act, perform=perform))
