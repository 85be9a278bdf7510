"""Calls to the API server over one kept connection.

A lease needs three kinds of request, each of which is answered at once, so no client of the whole API is
needed: the HTTP is h11's, which the probes have already loaded. A call that hangs ends at its time limit, or
with the task that waits for it, and its connection ends with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import h11

from piko.http_connection import HttpConnection, connect
from piko.leadership.api_access import ApiAccess

_UNAUTHORIZED = 401
_REPEATABLE = ("GET", "PUT")
"""Sent again if a kept connection has ended. A PUT is safe, because it names the version that it replaces."""


class ApiServer:
    """The API server of the cluster that this process belongs to; one call at a time."""

    def __init__(self, *, find_access: Callable[[], Awaitable[ApiAccess]], timeout_s: float) -> None:
        self._find_access = find_access
        self._timeout_s = timeout_s
        self._turn = asyncio.Lock()
        self._access: ApiAccess | None = None
        self._kept: HttpConnection | None = None

    async def call(
        self, method: str, path: str, *, body: Mapping[str, Any] | None = None
    ) -> tuple[int, bytes]:
        """The HTTP status and body of the answer to `method` on the quoted `path`, with `body` as JSON.

        It takes at most `timeout_s`. Raises `OSError` if the API server is not reached, does not answer in
        time, or does not answer with HTTP; `LeaseUnavailableError` if there is no cluster.
        """
        async with self._turn:
            if self._access is None:
                self._access = await self._find_access()
            async with asyncio.timeout(self._timeout_s):
                status, answer = await self._answer(self._access, method, path, body)
        if status == _UNAUTHORIZED:
            self._access = None  # the credentials may have been renewed
        return status, answer

    async def close(self) -> None:
        """Close the connection; a later call opens another."""
        if self._kept is not None:
            self._kept.abort()
            self._kept = None

    async def _answer(
        self, access: ApiAccess, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, bytes]:
        data = b"" if body is None else json.dumps(body).encode()
        request = _request(access, method, path, len(data))
        kept, self._kept = self._kept, None
        if kept is not None:
            try:
                return await self._over(kept, request, data)
            except OSError:
                if method not in _REPEATABLE:
                    raise
        return await self._over(await _connect(access), request, data)

    async def _over(self, connection: HttpConnection, request: h11.Request, data: bytes) -> tuple[int, bytes]:
        try:
            status, answer = await connection.exchange(request, data)
        except BaseException:
            connection.abort()
            raise
        if connection.renewed():
            self._kept = connection
        else:
            connection.abort()
        return status, answer


async def _connect(access: ApiAccess) -> HttpConnection:
    """A new connection. Raises `OSError`."""
    return await connect(
        access.host,
        access.port,
        tls=None if access.tls is None else access.tls(),
        server_name=access.server_name,
        server="the API server",
    )


def _request(access: ApiAccess, method: str, path: str, length: int) -> h11.Request:
    """The request. Raises `OSError` if the credentials cannot be read or sent."""
    headers = [
        ("Host", access.authority),
        ("User-Agent", "piko"),
        ("Accept", "application/json"),
        ("Content-Length", str(length)),
        ("Content-Type", "application/json"),
    ]
    if (authorization := access.authorization()) is not None:
        headers.append(("Authorization", authorization))
    try:
        return h11.Request(method=method, target=access.base + path, headers=headers)
    except (h11.LocalProtocolError, UnicodeError):  # whose text may hold the token
        raise OSError("the token, or the server's URL, holds characters that HTTP cannot send") from None
