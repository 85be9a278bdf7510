"""`/runs/{run_id}/log`: what a run says of itself, at once or as it says it."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, cast

from fastapi import APIRouter, Header, Query, Request
from fastapi.encoders import jsonable_encoder
from starlette.responses import JSONResponse, PlainTextResponse, Response

from piko.store.reports.run_logs import RunLogReader, RunLogReport
from piko.web.log_feed import LogFeed
from piko.web.problems import ProblemError
from piko.web.request import OnDatabase, RunId
from piko.web.routes.events import STREAM_HEADERS, EventStream
from piko.web.routes.runs import one_run

router = APIRouter(tags=["runs"])

_TEXT, _JSON, _STREAM = "text/plain", "application/json", "text/event-stream"
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The log, in the form that `Accept` asks for.",
        "model": RunLogReport | None,
        "content": {_TEXT: {"schema": {"type": "string"}}, _STREAM: {"schema": {"type": "string"}}},
    }
}


@router.get("/runs/{run_id}/log", responses=_ANSWERS)
async def run_log(
    request: Request,
    run_id: RunId,
    database: OnDatabase,
    accept: Annotated[str, Header(max_length=1000)] = _TEXT,
    last_event_id: Annotated[int | None, Header(ge=0)] = None,
    after: Annotated[int, Query(ge=0, le=2**53, description="Leave out the first lines, so many.")] = 0,
) -> Response:
    """What a run logged: its first and last lines as text; with its progress and its result as JSON; or
    followed to its end as server-sent events: `lines`, a list of new ones, `progress`, a sentence, and
    `ended`, the final state. The id of an event is the number of lines so far."""
    run = await one_run(run_id, database)
    if _STREAM in accept:
        feed = cast(LogFeed, request.app.state.log_feed)
        if feed.shared.full:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "as many clients follow logs as this server has room for; read the log from time to time",
                headers={"Retry-After": "30"},
            )
        return EventStream(feed.follow(run_id, after=last_event_id or after), headers=STREAM_HEADERS)
    log = await RunLogReader(database=database).of_run(run.run_id)
    if _JSON in accept:
        return JSONResponse(jsonable_encoder(log))
    return PlainTextResponse(_text(log, after=after))


def _text(log: RunLogReport | None, *, after: int) -> str:
    return "" if log is None else "".join(f"{line}\n" for line in log.lines(after=after))
