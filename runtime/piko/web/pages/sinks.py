"""`/sinks` and `/dead-letters`: what waits for sinks, what they refused, and what can be done with it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from piko.model.dead_letters import LetterVerb
from piko.steering import dead_letters, shell
from piko.store.reports.sinks import SinkList
from piko.web.asked import Act
from piko.web.pages.acting import Doing, PageAct, answer
from piko.web.pages.query import Form
from piko.web.rendering import render
from piko.web.request import AtClock, OnDatabase
from piko.web.routes.dead_letters import LetterId, LetterListQuery, LetterQuery, one_letter, page_of
from piko.web.views import acts, links
from piko.web.views import sinks as sinks_view
from piko.web.views.acts import REASON, ActForm, Effect

router = APIRouter(include_in_schema=False)

_VERBS = {LetterVerb.REPLAY: "Replay", LetterVerb.DROP: "Drop"}
_SAYS = {
    LetterVerb.REPLAY: "The replica that has it writes it to its sink again, within a poll.",
    LetterVerb.DROP: "The replica that has it deletes the record, within a poll. It cannot be had back.",
}
_SAYS_OF_ALL = {
    LetterVerb.REPLAY: "Each replica writes those that it has to their sinks again, within a poll.",
    LetterVerb.DROP: "Each replica deletes those that it has, within a poll. They cannot be had back.",
}
_DONE = {LetterVerb.REPLAY: "replay-asked", LetterVerb.DROP: "drop-asked"}


@router.get("/sinks")
async def list_sinks(request: Request, database: OnDatabase, clock: AtClock) -> Response:
    """Every sink, with what each replica says of it."""
    now, found = clock.now(), await SinkList(database=database).all()
    return render(request, "sinks.html", lines=[sinks_view.sink_line(item, now) for item in found])


@router.get("/dead-letters")
async def list_letters(
    request: Request, query: Annotated[LetterListQuery, Query()], database: OnDatabase, clock: AtClock
) -> Response:
    """Records that sinks refused, the newest first; filters and place are in the address."""
    now, form = clock.now(), Form.of(query)
    page = await page_of(database, query)
    return render(
        request,
        "dead_letters.html",
        lines=[sinks_view.letter_line(item, now) for item in page.items],
        query=query,
        filtered=form.filtered,
        replay_all=form.link("acts/replay/dead-letters"),
        drop_all=form.link("acts/drop/dead-letters"),
        next=page.next and form.link("dead-letters", cursor=page.next),
        first=form.link("dead-letters") if query.cursor else None,
        notice=acts.notice(request.query_params.get(acts.NOTICE)),
    )


@router.get("/dead-letters/{letter_id}/{verb}")
@router.post("/dead-letters/{letter_id}/{verb}")
async def act_on_letter(
    request: Request, letter_id: LetterId, verb: LetterVerb, database: OnDatabase
) -> Response:
    """The form of an act, its dry run, and the act."""
    found = await one_letter(letter_id, database)
    back = links.letters(run=found.run_id)

    async def perform(act: Act, doing: Doing) -> Effect:
        letter = await dead_letters.ask(database, letter_id, verb, actor=doing.actor, dry_run=doing.dry_run)
        return Effect(
            sentences=(
                _SAYS[verb],
                *([letter.note[:1].upper() + letter.note[1:] + "."] if letter.note else []),
            ),
            shell=shell.command("spool", verb, letter_id, reason=act.reason),
            leads_to=back,
            done=_DONE[verb],
        )

    form = ActForm(
        verb=_VERBS[verb],
        subject=f"{found.key}, refused by {found.sink}",
        back=back,
        says=_SAYS[verb],
        shell=shell.command("spool", verb, letter_id),
        fields=(REASON,),
        ends=verb is LetterVerb.DROP,
    )
    return await answer(request, PageAct(form=form, takes=Act, perform=perform))


@router.get("/acts/{verb}/dead-letters")
@router.post("/acts/{verb}/dead-letters")
async def act_on_letters(
    request: Request, verb: LetterVerb, query: Annotated[LetterQuery, Query()], database: OnDatabase
) -> Response:
    """The form of an act on many dead letters, its dry run, and the act."""
    wanted, chosen = query.filter(), Form.of(query)

    async def perform(act: Act, doing: Doing) -> Effect:
        results = await dead_letters.ask_for_all(
            database, wanted, verb, actor=doing.actor, dry_run=doing.dry_run
        )
        return Effect(
            sentences=acts.many(results, f"asked to {verb}", dry_run=doing.dry_run, what="dead letter"),
            shell=shell.of_letters(verb, wanted, reason=act.reason),
            leads_to=chosen.link("dead-letters"),
            nothing=not any(item.result == "changed" for item in results),
            results=tuple(results),
        )

    form = ActForm(
        verb=_VERBS[verb],
        subject=f"dead letters where {chosen.said}",
        back=chosen.link("dead-letters"),
        says=f"{_SAYS_OF_ALL[verb]} At most {shell.MOST:,}, as the filters leave when you confirm.",
        shell=shell.of_letters(verb, wanted, reason=None),
        fields=(REASON,),
        ends=verb is LetterVerb.DROP,
    )
    return await answer(request, PageAct(form=form, takes=Act, perform=perform))
