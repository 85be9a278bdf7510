"""One HTTP connection to a server: the bytes are asyncio's, and the HTTP is h11's.

It needs no thread. The caller bounds the time, and closes the connection with `abort`.
"""

from __future__ import annotations

import asyncio
import ssl

import h11

_CHUNK = 65_536
_LONGEST_ANSWER = 1_048_576


class HttpConnection:
    """One connection, for one exchange after another. `server` is what messages call the other side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, server: str) -> None:
        self._reader = reader
        self._writer = writer
        self._server = server
        self._http = h11.Connection(our_role=h11.CLIENT)

    async def exchange(self, request: h11.Request, data: bytes) -> tuple[int, bytes]:
        """Status and body of the answer to `request` with the body `data`.

        Raises `OSError` if the connection ends or the answer is not HTTP.
        """
        if self._reader.at_eof():
            raise ConnectionResetError(f"{self._server} has closed the connection")
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
                data = await self._reader.read(_CHUNK)
                if not data and not status:
                    raise ConnectionResetError(f"{self._server} has closed the connection without an answer")
                self._http.receive_data(data)
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
        """Close the connection at once."""
        self._writer.transport.abort()


async def connect(
    host: str, port: int, *, tls: ssl.SSLContext | None, server_name: str | None = None, server: str
) -> HttpConnection:
    """A new connection to `host`, whose certificate must name `server_name`, else `host`.

    - `tls`: None: plain HTTP.
    - `server`: what messages call the other side.

    Raises `OSError`.
    """
    named = None if tls is None else server_name or host
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=tls, server_hostname=named)
    except UnicodeError as error:
        raise OSError(f"{host!r} is not a host name: {error}") from error
    return HttpConnection(reader, writer, server=server)
