"""A person signs in at a form with their token, and a cookie of the browser is their session.

The cookie holds the token, sealed (encrypted and signed), and when it was sealed. So nothing is kept here, a
session ends by itself after `LIFETIME_S`, and each request shows the token to the way of access again: one
that was revoked is a session that has ended. Each server seals with a key of its own unless it is given one
(`web_session_key`); then a session lasts over a restart, and holds at every server with that key.

Scripts cannot read the cookie, and a browser sends it with no request that begins at another site.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

from cryptography.fernet import Fernet, InvalidToken
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

from piko.clock import Clock
from piko.web.access.roles import Access, Caller, bearer

LIFETIME_S = 12 * 3600
MOST_BYTES = 4000
"""Of a cookie: a browser keeps no larger one."""
_NAME = "piko_session"
_ENDED = "your session has ended: sign in again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a request shows: headers that hold the token of its session, if it has one.

    `session` is whether a cookie says who asks; `ended` why the cookie counts no longer, None if it counts.
    """

    headers: Headers
    session: bool = False
    ended: str | None = None


class Sessions:
    """Seals tokens into cookies, and opens them."""

    def __init__(self, *, access: Access, clock: Clock, key: str | None) -> None:
        """`access` knows the callers of tokens; `key` is any long secret, None: one of its own."""
        self._access = access
        self._clock = clock
        sealed_by = Fernet.generate_key() if key is None else _key_of(key)
        self._seal = Fernet(sealed_by)

    def shown(self, headers: Headers) -> Shown:
        """What a request with `headers` shows. A token that it sends itself counts before a cookie."""
        sealed = None if bearer(headers) is not None else _cookie(headers)
        if sealed is None:
            return Shown(headers=headers)
        try:
            token = self._seal.decrypt_at_time(sealed.encode(), LIFETIME_S, self._now()).decode()
        except (InvalidToken, ValueError):
            return Shown(headers=headers, session=True, ended=_ENDED)
        known = MutableHeaders(headers)
        known["Piko-Token"] = token
        return Shown(headers=known, session=True)

    async def begin(self, token: str, client: str) -> tuple[Caller, str | None]:
        """Who signs in with `token` from the address `client`, and the cookie; None: it would be too large.

        Raises what `Access.caller` raises.
        """
        caller = await self._access.caller(Headers({"Piko-Token": token}), client)
        sealed = self._seal.encrypt_at_time(token.encode(), self._now()).decode()
        return caller, sealed if len(sealed) <= MOST_BYTES else None

    def _now(self) -> int:
        return int(self._clock.now().timestamp())


def keep(answer: Response, sealed: str, *, secure: bool) -> None:
    """Have the browser keep a cookie; `secure`: for HTTPS only."""
    answer.set_cookie(
        _NAME, sealed, max_age=LIFETIME_S, path="/", secure=secure, httponly=True, samesite="strict"
    )


def drop(answer: Response) -> None:
    """Have the browser forget its cookie."""
    answer.delete_cookie(_NAME, path="/", httponly=True, samesite="strict")


def _cookie(headers: Headers) -> str | None:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(_NAME)
    except CookieError:
        return None
    return None if found is None else found.value


def _key_of(secret: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(secret.encode()).digest())
