"""Calls to the API server over one kept connection.

A lease needs three kinds of request, each of which is answered at once, so no client of the whole API is
needed: the connection is asyncio's, and the HTTP is h11's, which the probes have already loaded. A call needs
no thread. A call that hangs ends at its time limit, or with the task that waits for it, and its connection
ends with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import h11

from piko.leadership.api_access import ApiAccess

_CHUNK = 65_536
_LONGEST_ANSWER = 1_048_576
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
        self._kept: _Connection | None = None

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

    async def _over(self, connection: _Connection, request: h11.Request, data: bytes) -> tuple[int, bytes]:
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


class _Connection:
    """One connection, for one exchange after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(our_role=h11.CLIENT)

    async def exchange(self, request: h11.Request, data: bytes) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises `OSError` if the connection ends or the answer is not HTTP.
        """
        if self._reader.at_eof():
            raise ConnectionResetError("the API server has closed the connection")
        try:
            for event in (request, h11.Data(data=data), h11.EndOfMessage()):
                self._writer.write(self._http.send(event) or b"")
            await self._writer.drain()
            return await self._read()
        except h11.ProtocolError as error:
            raise ConnectionError(f"the answer is not valid HTTP: {error}") from error

    async def _read(self) -> tuple[int, bytes]:
        status, answer = 0, bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_CHUNK))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                answer += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, bytes(answer)
            if len(answer) > _LONGEST_ANSWER:
                raise ConnectionError(f"the answer is longer than {_LONGEST_ANSWER} bytes")

    def renewed(self) -> bool:
        """Prepare the connection for another exchange; False if it cannot be used again."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    def abort(self) -> None:
        self._writer.transport.abort()


async def _connect(access: ApiAccess) -> _Connection:
    """A new connection. Raises `OSError`."""
    tls = None if access.tls is None else access.tls()
    try:
        reader, writer = await asyncio.open_connection(
            access.host,
            access.port,
            ssl=tls,
            server_hostname=None if tls is None else access.server_name or access.host,
        )
    except UnicodeError as error:
        raise OSError(f"{access.host!r} is not a host name: {error}") from error
    return _Connection(reader, writer)


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
