"""Builds the ASGI application, and gives each request what it needs.

`create_web` opens nothing. The pool of connections is opened when the application starts (`lifespan`) and
closed when it stops, on the event loop that answers requests: an application that is mounted in a replica
shares neither a loop nor a connection with its jobs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import Depends, FastAPI, Request

from piko.clock import Clock
from piko.errors import did_you_mean
from piko.store.engine import open_database
from piko.web.access.roles import Access
from piko.web.access.sessions import Sessions
from piko.web.access.ways import access_of
from piko.web.description import complete_description
from piko.web.event_feed import EventFeed
from piko.web.guard import Guard
from piko.web.idempotency import Idempotency
from piko.web.log_feed import LogFeed
from piko.web.options import WebSettings
from piko.web.page import add_pages
from piko.web.problems import ProblemError, answer_problems
from piko.web.routes import (
    attention,
    backfills,
    changes,
    dead_letters,
    events,
    job_acts,
    job_details,
    job_explain,
    job_rows,
    job_times,
    jobs,
    replicas,
    run_acts,
    run_logs,
    runs,
    schema,
    sinks,
)
from piko.web.views.acts import NOTICE

API = "/api/v1"
POOL = 4
"""Connections of each of the two engines: what one person looks at takes one or two at a time."""
_STREAMS = 80
_NOUNS = (
    attention,
    schema,
    jobs,
    job_details,
    job_explain,
    job_times,
    job_rows,
    job_acts,
    runs,
    run_logs,
    run_acts,
    backfills,
    changes,
    replicas,
    sinks,
    dead_letters,
    events,
)


def create_web(*, settings: WebSettings, clock: Clock, most_streams: int = _STREAMS) -> FastAPI:
    """The application; the server that serves it has to run its `lifespan`. Raises `SettingsError`.

    At most `most_streams` clients follow events, and as many logs.
    """
    access = access_of(settings, clock=clock)
    sessions = _sessions(settings, access, clock)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = open_database(
            settings.dsn.get_secret_value(), pool_size=POOL, config_keys=settings.config_keys
        )
        app.state.database = database
        app.state.feed = EventFeed(database=database, clock=clock, most=most_streams)
        app.state.log_feed = LogFeed(database=database, most=most_streams)
        try:
            yield
        finally:
            app.state.feed = app.state.log_feed = None
            await access.close()
            await database.close()

    app = FastAPI(
        title="Piko",
        version="1",
        description="Jobs, runs, and what people do to them.",
        lifespan=lifespan,
        openapi_url=f"{API}/openapi.json",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(only_known_filters)],
    )
    app.state.clock = clock
    app.state.feed = app.state.log_feed = None
    app.state.sessions = sessions
    app.state.timezone = settings.timezone
    answer_problems(app)
    app.add_middleware(Idempotency, clock=clock)
    app.add_middleware(Guard, access=access, sessions=sessions, clock=clock)
    for noun in _NOUNS:
        app.include_router(noun.router, prefix=API)
    complete_description(app)
    add_pages(app)
    return app


def _sessions(settings: WebSettings, access: Access, clock: Clock) -> Sessions | None:
    """What signs people in; None: tokens are not what says who they are."""
    if settings.access not in ("token", "kubernetes"):
        return None
    key = settings.session_key
    return Sessions(access=access, clock=clock, key=None if key is None else key.get_secret_value())


async def only_known_filters(request: Request) -> None:
    """Refuse a query that names a filter which the route does not have: it would be ignored silently."""
    known = _filters_of(request)
    for name in request.query_params:
        if known is not None and name not in known:
            raise ProblemError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"filter {name[:80]!r}: is not known here{did_you_mean(name, known)}; "
                f"expected {', '.join(sorted(known)) or 'no filter'}",
            )


def _filters_of(request: Request) -> set[str] | None:
    """The filters that the route has by the description of the API; None: it is not part of the API."""
    paths = request.app.openapi()["paths"]
    # A route that a router has brought names its path without the router's prefix.
    operation = paths.get(API + request.scope["route"].path, {}).get(request.method.lower())
    if operation is None:
        return None
    own = set() if f"{API}/" in request.url.path else {NOTICE}
    return own | {item["name"] for item in operation.get("parameters", ()) if item["in"] == "query"}
