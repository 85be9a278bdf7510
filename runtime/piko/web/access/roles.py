"""Roles, callers, and the one thing that a way of access does: name the caller of a request."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from starlette.datastructures import Headers

UNKNOWN = "anonymous"


class Role(IntEnum):
    """What a caller may do; a higher role may do what a lower one may."""

    NOBODY = 0
    VIEWER = 1
    OPERATOR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and in which role. `why_not` says what a higher role would take.

    `session`: a cookie says who they are, so they can sign out. `traceparent` names the span in which they
    ask.
    """

    who: str
    role: Role
    why_not: str
    session: bool = False
    traceparent: str | None = None


class Access(Protocol):
    """A way of access."""

    async def caller(self, headers: Headers, client: str, /) -> Caller:
        """Who sends a request with `headers` from the address `client`.

        Raises `LeaseUnavailableError` or `OSError` if that cannot be found out now.
        """
        ...

    async def close(self) -> None:
        """Close what is kept open."""
        ...


class ReadOnly:
    """Everyone who reaches the port reads, and nobody acts."""

    async def caller(self, _headers: Headers, _client: str) -> Caller:
        why_not = (
            "this server is read-only (web_access = read); to act, set PIKO_WEB_ACCESS to token, header or "
            "kubernetes, or use the command line"
        )
        return Caller(who=UNKNOWN, role=Role.VIEWER, why_not=why_not)

    async def close(self) -> None:
        pass


def bearer(headers: Headers) -> str | None:
    """The token of a request: `Piko-Token`, or `Authorization: Bearer`.

    The API server removes the latter from what it passes on as `services/proxy`.
    """
    own = headers.get("piko-token")
    if own:
        return own.strip()
    kind, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None
