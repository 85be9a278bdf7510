"""The server of the application: a thread and an event loop of its own, and probes at the same port."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter
from starlette.routing import Route

from piko.clock import Clock
from piko.serving.probes import PATHS, ProbeResult, Probes
from piko.serving.server import HttpServer
from piko.web.application import create_web
from piko.web.options import WebSettings


def web_server(settings: WebSettings, *, clock: Clock, registry: CollectorRegistry) -> HttpServer:
    """The server of the API and the page. `registry` gets its metrics, and `/metrics` answers with it."""
    dropped = Counter(
        "piko_web_connections_dropped",
        "Connections of the API and the page that were dropped",
        ["why"],
        registry=registry,
    )
    app = create_web(settings=settings, clock=clock)
    # The database may be away: the answers say so, and a restart would not help.
    alive = ProbeResult(True, ("ok",))
    probes = Probes(health=lambda: alive, readiness=lambda: alive, metrics=registry)
    app.router.routes.extend(Route(path, endpoint=probes) for path in sorted(PATHS))
    return HttpServer(app, clock=clock, dropped=dropped, lifespan=True)
