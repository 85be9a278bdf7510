"""`/events`: what happens, as a stream of server-sent events."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, cast

from fastapi import APIRouter, Header, Request
from starlette.responses import StreamingResponse

from piko.web.event_feed import EventFeed
from piko.web.problems import ProblemError

router = APIRouter(tags=["events"])

STREAM_HEADERS = {"X-Accel-Buffering": "no"}
"""A proxy would otherwise keep events until it has enough of them."""


class EventStream(StreamingResponse):
    """A stream that has no end of its own."""

    media_type = "text/event-stream"


@router.get(
    "/events",
    response_class=EventStream,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def events(
    request: Request, last_event_id: Annotated[str | None, Header(max_length=100)] = None
) -> EventStream:
    """Server-sent events: `runs_ended`, `jobs_changed` and `leader_changed` with the ids of what to read
    again, at most 500 each, and `reset`: read everything again."""
    feed = cast(EventFeed, request.app.state.feed)
    if feed.shared.full:
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "as many pages follow events as this server has room for; read again from time to time instead",
            headers={"Retry-After": "30"},
        )
    return EventStream(feed.listen(last_event_id), headers=STREAM_HEADERS)
