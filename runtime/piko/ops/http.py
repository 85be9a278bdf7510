"""What a replica says of itself over HTTP: probes and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from piko.runtime import Readiness

PATHS = frozenset({"/healthz", "/readyz", "/metrics"})
Lifespan = Callable[[FastAPI], Any]


class Replica(Protocol):
    """What is told of a replica."""

    @property
    def readiness(self) -> Readiness: ...

    @property
    def dead_parts(self) -> list[str]: ...

    @property
    def hung_for_s(self) -> float: ...


def ops_app(
    *,
    name: str,
    replica: Callable[[], Replica | None],
    metrics: CollectorRegistry,
    lifespan: Lifespan | None = None,
) -> FastAPI:
    """`/healthz`, `/readyz` and `/metrics` of the replica that `replica()` returns; None: not started."""
    app = FastAPI(title=name, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> Response:
        """Liveness: every part is kept, and the jobs' event loop turns. The database may be away."""
        running = replica()
        dead = [] if running is None else running.dead_parts
        if dead:
            return _unavailable(f"parts that ended for good: {', '.join(dead)}")
        if running is not None and (hung_for_s := running.hung_for_s):
            return _unavailable(f"the event loop of the jobs has been blocked for {hung_for_s:.0f} s")
        return PlainTextResponse("ok\n")

    @app.get("/readyz", response_class=PlainTextResponse)
    async def readyz() -> Response:
        """Readiness: `leader` or `standby`; 503 with one reason per line."""
        running = replica()
        if running is None:
            return _unavailable("not started")
        readiness = running.readiness
        if readiness.ready:
            return PlainTextResponse(f"{readiness.role}\n")
        return _unavailable(*readiness.reasons)

    @app.get("/metrics")
    async def exposition(request: Request) -> Response:
        """Prometheus' text format, or OpenMetrics (with exemplars) where the scraper accepts it."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics), media_type=content_type)

    return app


def _unavailable(*reasons: str) -> Response:
    return PlainTextResponse("".join(f"{reason}\n" for reason in reasons), status_code=503)
