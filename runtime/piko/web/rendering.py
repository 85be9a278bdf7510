"""Pages as HTML: the templates, what each of them may use, and the files that they load.

A browser runs and loads only what this origin serves as a file (`guard` says so with every answer). So no
template holds a script or a style, and a text of a job that should ever reach a page unescaped stays a text.
"""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus
from pathlib import Path

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import HTMLResponse, Response

from piko.web.access.roles import UNKNOWN, Caller, Role
from piko.web.problems import ProblemError
from piko.web.views import links

_HERE = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_A_YEAR = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


def render(
    request: Request, template: str, *, status: HTTPStatus = HTTPStatus.OK, **values: object
) -> Response:
    """The page `template` with `values`; links in it begin with `root`."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    caller: Caller = request.scope["caller"]
    shared = {"root": links.root_of(path), "path": path, "why_not": caller.why_not, "caller": caller}
    shown = {**shared, "may_act": caller.role >= Role.OPERATOR, "known": caller.who != UNKNOWN, **values}
    text = _templates().get_template(template).render(shown)
    return HTMLResponse(text, status_code=status)


@router.get("/static/{name}")
async def static(name: str) -> Response:
    """A file of the page; its address holds its digest, so that a browser keeps it."""
    found = _files().get(name)
    if found is None:
        raise ProblemError(HTTPStatus.NOT_FOUND, f"no file {name[:80]!r} belongs to the page")
    kind, content = found
    return Response(content, media_type=kind, headers={"Cache-Control": _A_YEAR})


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        asset=_asset, job_link=links.job, run_link=links.run, backfill_link=links.backfill
    )
    return environment


@cache
def _files() -> dict[str, tuple[str, bytes]]:
    return {
        path.name: (_TYPES[path.suffix], path.read_bytes())
        for path in (_HERE / "static").iterdir()
        if path.suffix in _TYPES
    }


@cache
def _asset(name: str) -> str:
    """The address of a file, from where the pages begin."""
    _, content = _files()[name]
    return f"static/{name}?v={hashlib.sha256(content).hexdigest()[:12]}"
