"""The page as a part of the application: its routes, its files, and errors as a person reads them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from piko.web import rendering
from piko.web.pages import (
    backfill_acts,
    backfills,
    bulk_acts,
    changes,
    front,
    job_acts,
    jobs,
    replicas,
    run_acts,
    runs,
    sign_in,
    sinks,
    why,
)
from piko.web.pages.query import WithoutEmpty

_PAGES = (
    front,
    jobs,
    why,
    runs,
    backfills,
    sinks,
    replicas,
    changes,
    job_acts,
    run_acts,
    backfill_acts,
    bulk_acts,
    sign_in,
)

Handler = Callable[[Request, Exception], Awaitable[Response]]


def add_pages(app: FastAPI) -> None:
    """Add every page to `app`, beside the API; a browser gets what `app` answers to an error as a page."""
    app.include_router(rendering.router)
    for page in _PAGES:
        app.include_router(page.router)
    app.add_middleware(WithoutEmpty)
    handlers: dict[Any, Any] = dict(app.exception_handlers)
    for kind in [kind for kind, handler in handlers.items() if handler.__module__ == "piko.web.problems"]:
        app.add_exception_handler(kind, _as_page(handlers[kind]))


def _as_page(handler: Handler) -> Handler:
    async def answer(request: Request, error: Exception) -> Response:
        problem = await handler(request, error)
        if "text/html" not in request.headers.get("accept", "") or request.url.path.startswith("/api/"):
            return problem
        said = json.loads(bytes(problem.body))
        page = rendering.render(request, "problem.html", status=HTTPStatus(problem.status_code), problem=said)
        if "retry-after" in problem.headers:
            page.headers["Retry-After"] = problem.headers["retry-after"]
        return page

    return answer
