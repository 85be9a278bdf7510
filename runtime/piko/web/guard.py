"""What every request and answer passes: bounds, headers, who asks, and whether they may.

A body has at most 64 KB, and a caller sends at most 120 acts a minute. A browser has to send an act from a
page of this server: one whose `Origin` or `Sec-Fetch-Site` says another site is refused, so no other page can
use a person's rights. Every answer forbids the browser what the page does not need.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response

from piko.clock import Clock
from piko.errors import LeaseUnavailableError, TransientError
from piko.model.traceparents import traceparent_of
from piko.serving.probes import PATHS, AsgiApp, Message, Receive, Scope, Send
from piko.tracing.traces import traces_in_use
from piko.web.access.roles import UNKNOWN, Access, Caller, Role
from piko.web.access.sessions import Sessions, Shown, drop
from piko.web.bodies import received_again, whole_body
from piko.web.pages.sign_in import SIGN_IN, SIGN_OUT, place_of, sign_in_page
from piko.web.problems import problem

MOST_BYTES = 65_536
_ACTS, _PER_S = 120, 60.0
_CALLERS = 1000
_SAFE = ("GET", "HEAD", "OPTIONS")
_RENEWAL = "hx-request"
"""The header of a page that asks for a part of itself."""
_NO_PAGE = (
    "header Content-Type: 'application/x-www-form-urlencoded' is that of a form, and a browser says which "
    "page a form comes from; a program sends 'application/json', as `curl --json` does"
)

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """Lets through to `app` what may pass; `scope["caller"]` says who asks."""

    def __init__(self, app: AsgiApp, *, access: Access, sessions: Sessions | None, clock: Clock) -> None:
        """`sessions` signs people in at a form; None: `access` knows no tokens."""
        self._app = app
        self._access = access
        self._sessions = sessions
        self._clock = clock
        self._traces = traces_in_use()
        self._acts: dict[str, deque[float]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in PATHS:
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refusal = await self._refusal(scope, headers)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        if scope["method"] not in _SAFE:
            body = await whole_body(receive, most=MOST_BYTES)
            if body is None:
                await _too_large(scope)(scope, receive, guarded)
                return
            receive = received_again(body, receive)
        await self._app(scope, receive, guarded)

    async def _refusal(self, scope: Scope, headers: Headers) -> Any:
        path, acts = scope["path"], scope["method"] not in _SAFE
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return _too_large(scope)
        if acts and not same_origin(headers):
            if not from_a_page(headers):
                return problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, _NO_PAGE, path=path)
            detail = "this act comes from a page of another site; open the page of this server and act there"
            return problem(HTTPStatus.FORBIDDEN, detail, path=path)
        shown = Shown(headers=headers) if self._sessions is None else self._sessions.shown(headers)
        if acts and shown.session and not from_a_page(headers):
            detail = "this act shows the cookie of a session and does not say which page it comes from"
            return problem(HTTPStatus.FORBIDDEN, detail, path=path)
        client = str((scope.get("client") or ("", 0))[0])
        try:
            scope["caller"] = await self._caller(shown, client)
        except (TransientError, LeaseUnavailableError) as error:
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, str(error), path=path)
        if self._sessions is not None and _is_open(scope):
            return self._too_often(f"somebody at {client}", path) if acts else None
        return self._not_admitted(scope, shown, acts=acts)

    async def _caller(self, shown: Shown, client: str) -> Caller:
        if shown.ended is not None:
            return Caller(who=UNKNOWN, role=Role.NOBODY, why_not=shown.ended)
        caller = await self._access.caller(shown.headers, client)
        # That of this server, where the program that serves it traces requests; otherwise that of the caller.
        traceparent = self._traces.current() or traceparent_of(shown.headers.get("traceparent"))
        return replace(caller, session=shown.session, traceparent=traceparent)

    def _not_admitted(self, scope: Scope, shown: Shown, *, acts: bool) -> Any:
        path, caller = scope["path"], scope["caller"]
        if caller.role is Role.NOBODY:
            if self._sessions is not None and _is_for_a_person(scope):
                return _signing_in(scope, shown)
            extra = {"WWW-Authenticate": "Bearer"}
            return problem(
                HTTPStatus.UNAUTHORIZED, f"not admitted: {caller.why_not}", path=path, headers=extra
            )
        if acts and caller.role < Role.OPERATOR:
            return problem(HTTPStatus.FORBIDDEN, f"{caller.who} may not act: {caller.why_not}", path=path)
        return self._too_often(caller.who, path) if acts else None

    def _too_often(self, who: str, path: str) -> Any:
        if self._in_time(who):
            return None
        detail = f"{who} sent {_ACTS} acts within a minute; wait, or act on many jobs by a filter"
        extra = {"Retry-After": "60"}
        return problem(HTTPStatus.TOO_MANY_REQUESTS, detail, path=path, headers=extra)

    def _in_time(self, who: str) -> bool:
        now = self._clock.monotonic()
        if who not in self._acts and len(self._acts) >= _CALLERS:
            self._acts.clear()
        acts = self._acts.setdefault(who, deque(maxlen=_ACTS))
        if len(acts) == _ACTS and now - acts[0] < _PER_S:
            return False
        acts.append(now)
        return True


def same_origin(headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        # A browser says where a form comes from. What sends none of both is a program, which sends JSON.
        return not headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if site is not None and site not in ("same-origin", "none"):
        return False
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def from_a_page(headers: Headers) -> bool:
    """Whether a browser says from where it sends a request."""
    return headers.get("sec-fetch-site") is not None or headers.get("origin") is not None


def _path(scope: Scope) -> str:
    return str(scope["path"]).removeprefix(scope.get("root_path", ""))


def _is_open(scope: Scope) -> bool:
    """Whether the request concerns the form at which people sign in: its files, and itself."""
    return _path(scope) in (SIGN_IN, SIGN_OUT) or _path(scope).startswith("/static/")


def _is_for_a_person(scope: Scope) -> bool:
    """Whether a browser asks for a page, or a page for a part of itself, which accepts anything."""
    headers = Headers(scope=scope)
    asks = "text/html" in headers.get("accept", "") or _RENEWAL in headers
    return asks and not _path(scope).startswith("/api/")


def _signing_in(scope: Scope, shown: Shown) -> Response:
    request, caller = Request(scope), scope["caller"]
    answer = sign_in_page(
        request,
        why=caller.why_not if shown.session else "",
        to=place_of(request),
        from_outside=request.headers.get("sec-fetch-site") == "cross-site" and scope["method"] in _SAFE,
    )
    if _RENEWAL in request.headers:
        answer.headers["HX-Refresh"] = "true"  # the whole page signs in, and says why the session has ended
    elif shown.session:
        drop(answer)
    return answer


def _too_large(scope: Scope) -> Any:
    detail = f"the body is larger than {MOST_BYTES:,} bytes; nothing that Piko takes needs more"
    return problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, path=scope["path"])
