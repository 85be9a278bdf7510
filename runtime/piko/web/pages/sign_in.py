"""`/sign-in` and `/sign-out`: a form that takes a token, and how its session ends."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from piko.errors import LeaseUnavailableError, TransientError
from piko.web.access.roles import Role
from piko.web.access.sessions import Sessions, drop, keep
from piko.web.pages.forms import fields_of
from piko.web.problems import ProblemError
from piko.web.rendering import render
from piko.web.views import links

router = APIRouter(include_in_schema=False)

SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
_MOST_TOKEN = 16_384


def sign_in_page(request: Request, *, why: str = "", to: str = "", from_outside: bool = False) -> Response:
    """The form, as the answer to a request that no session allows.

    - `why`: what is wrong; empty: nothing yet.
    - `to`: the page to show then, from where the pages begin.
    - `from_outside`: the browser comes from another site, so it has sent no cookie.
    """
    answer = render(
        request,
        "sign_in.html",
        status=HTTPStatus.UNAUTHORIZED,
        why=f"{why[:1].upper()}{why[1:]}.".replace("..", ".") if why else "",
        to=to,
        from_outside=from_outside,
    )
    answer.headers["WWW-Authenticate"] = "Bearer"
    return answer


@router.get(SIGN_IN)
async def form(request: Request) -> Response:
    """The form itself; who has a session is led on."""
    _sessions(request)
    if request.scope["caller"].role is Role.NOBODY:
        return sign_in_page(request)
    return RedirectResponse("./", status_code=HTTPStatus.SEE_OTHER)


@router.post(SIGN_IN)
async def begin(request: Request) -> Response:
    """Begin a session with the token of the form."""
    sessions, said = _sessions(request), await fields_of(request)
    token, to = said.get("token", "").strip(), said.get("to", "").lstrip("/")
    if not token or not token.isascii() or not token.isprintable() or len(token) > _MOST_TOKEN:
        return sign_in_page(
            request, why="this is no token: one is a line of letters, digits and signs", to=to
        )
    try:
        caller, sealed = await sessions.begin(token, (request.scope.get("client") or ("", 0))[0])
    except (TransientError, LeaseUnavailableError) as error:
        raise ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "2"}) from None
    if caller.role is Role.NOBODY:
        return sign_in_page(request, why=caller.why_not, to=to)
    if sealed is None:
        why = "the token is too long for a cookie of a browser; send it as a header, or use a shorter one"
        return sign_in_page(request, why=why, to=to)
    answer = RedirectResponse(f"./{to}", status_code=HTTPStatus.SEE_OTHER)
    keep(answer, sealed, secure=_by_https(request))
    return answer


@router.post(SIGN_OUT)
async def end(request: Request) -> Response:
    """End the session."""
    _sessions(request)
    answer = RedirectResponse("./", status_code=HTTPStatus.SEE_OTHER)
    drop(answer)
    return answer


def place_of(request: Request) -> str:
    """The page that a request asks for, from where the pages begin, with its query."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", "")).lstrip("/")
    query = request.scope["query_string"].decode("latin-1")
    return f"{links.quoted(path)}?{query}" if query else links.quoted(path)


def _sessions(request: Request) -> Sessions:
    sessions = cast(Sessions | None, request.app.state.sessions)
    if sessions is None:
        detail = "nobody signs in here: web_access = token or kubernetes is what has a form for tokens"
        raise ProblemError(HTTPStatus.NOT_FOUND, detail)
    return sessions


def _by_https(request: Request) -> bool:
    """Whether the browser uses HTTPS, which a proxy in front may end. A lie makes the cookie safer only."""
    said = (request.headers.get("origin", ""), request.headers.get("x-forwarded-proto", ""))
    return request.url.scheme == "https" or any(text.startswith("https") for text in said)
