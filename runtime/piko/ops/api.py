"""The FastAPI application that users extend and serve with an ASGI server of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.routing import Route

from piko.serving.probes import PATHS, Probes

Lifespan = Callable[[FastAPI], Any]


def make_api_app(*, name: str, probes: Probes, lifespan: Lifespan) -> FastAPI:
    """A FastAPI application with the routes of `probes`; serving it runs `lifespan`."""
    app = FastAPI(title=name, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.router.routes.extend(Route(path, endpoint=probes) for path in sorted(PATHS))
    return app
