"""The server of the application: a thread, an event loop and connections of its own, and probes beside it.

`piko web` serves it as a program, a replica and `piko dev` beside their jobs. Jobs do not feel it, because
nothing of theirs answers it: not their event loop, not their threads, and not their pool of connections.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from prometheus_client import CollectorRegistry, Counter
from starlette.routing import Route

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko.serving.door import most_connections
from piko.serving.probes import PATHS, ProbeResult, Probes
from piko.serving.server import HttpServer
from piko.web.application import create_web
from piko.web.event_feed import EventFeed
from piko.web.log_feed import LogFeed
from piko.web.options import WebSettings

MOST_PEOPLE = 1200
"""Connections of a program that does nothing else."""
_STREAMS = 0.85
"""Of the connections, how many may follow events: the others are for what ends."""

log = get_logger(__name__)


def web_server(
    settings: WebSettings, *, clock: Clock, registry: CollectorRegistry, most: int | None = None
) -> HttpServer:
    """The server of the API and the page. `registry` gets its metrics, and `/metrics` answers with it.

    - `most`: connections, as far as the process has file descriptors for them; None: as a replica has.

    Raises `SettingsError` if the settings cannot work.
    """
    return _server(settings, clock=clock, registry=registry, most=most)[0]


def _server(
    settings: WebSettings, *, clock: Clock, registry: CollectorRegistry, most: int | None
) -> tuple[HttpServer, Counter]:
    dropped = Counter(
        "piko_web_connections_dropped",
        "Connections of the API and the page that were dropped",
        ["why"],
        registry=registry,
    )
    connections = most_connections() if most is None else most_connections(most=most, share=2)
    app = create_web(settings=settings, clock=clock, most_streams=int(connections * _STREAMS))
    # The database may be away: the answers say so, and a restart would not help.
    alive = ProbeResult(True, ("ok",))
    probes = Probes(health=lambda: alive, readiness=lambda: alive, metrics=registry)
    app.router.routes.extend(Route(path, endpoint=probes) for path in sorted(PATHS))
    server = HttpServer(
        app,
        clock=clock,
        dropped=dropped,
        most=connections,
        lifespan=True,
        stopping=lambda: _end_streams(app),
    )
    return server, dropped


@asynccontextmanager
async def serving_web(
    settings: WebSettings,
    listening: socket.socket,
    *,
    clock: Clock,
    registry: CollectorRegistry,
    most: int | None = None,
) -> AsyncIterator[asyncio.Future[None]]:
    """Serve the application at `listening` while the block lasts; yields what is done if the server ends.

    - `registry`: gets the server's metrics.
    - `most`: connections; None: as a replica has.

    Raises `SettingsError` if the settings cannot work.
    """
    server, dropped = _server(settings, clock=clock, registry=registry, most=most)
    serving = asyncio.create_task(server.serve(listening), name="web")
    host, port = listening.getsockname()[:2]
    log.info("listening", host=host, port=port, access=settings.access)
    try:
        yield serving
    finally:
        server.stop()
        await serving
        registry.unregister(dropped)  # the same program may serve it again


def _end_streams(app: FastAPI) -> None:
    feeds: tuple[EventFeed | LogFeed | None, ...] = (app.state.feed, app.state.log_feed)
    for feed in feeds:
        if feed is not None:
            feed.shared.close()
