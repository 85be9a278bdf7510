"""A way to the database that can be cut: for one replica alone, or right between a COMMIT and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.engine import make_url

from tests.harness.databases import TestDatabase


class CuttableWay:
    """Passes bytes on to a server, until it is told not to."""

    def __init__(self, *, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._closed = False
        self._cut_after_commit = False
        self._questions_vanish = False
        self._answers_vanish = False
        self.delay_s = 0.0
        """How long each question is held up."""
        self.cuts = 0

    def close(self) -> None:
        """Break what is connected, and refuse what comes."""
        self._closed = True
        for writer in self._writers:
            writer.transport.abort()

    def open(self) -> None:
        """End `close` and `swallow`."""
        self._closed = self._questions_vanish = self._answers_vanish = False

    def swallow(self, *, questions: bool = False, answers: bool = False) -> None:
        """Lose what goes in one direction; connections stay and hang."""
        self._questions_vanish, self._answers_vanish = questions, answers

    def cut_next_commit(self) -> None:
        """The next COMMIT reaches the server and works; its answer never arrives."""
        self._cut_after_commit = True

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its beginning to its end."""
        if self._closed:
            writer.transport.abort()
            return
        try:
            server_reader, server_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:  # the server is down: whoever calls is to know
            writer.transport.abort()
            return
        cut = asyncio.Event()
        mine = {writer, server_writer}
        self._writers |= mine
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forth(reader, server_writer, cut))
                group.create_task(self._back(server_reader, writer, cut))
        finally:
            self._writers -= mine
            for each in mine:
                each.transport.abort()

    async def _forth(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if self._cut_after_commit and data[4:] == b"\x03COMMIT":
                    self._cut_after_commit = False
                    cut.set()
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self._questions_vanish:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _back(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: asyncio.Event
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if cut.is_set():  # the server has answered, so it has committed
                    self.cuts += 1
                    break
                if self._answers_vanish:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()


@asynccontextmanager
async def cuttable(database: TestDatabase) -> AsyncIterator[tuple[CuttableWay, TestDatabase]]:
    """A way to a server's `database`, and the database as it is reached by that way."""
    url = make_url(database.dsn)
    assert url.host is not None
    assert url.port is not None
    way = CuttableWay(host=url.host, port=url.port)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(asyncio.create_task(way.connect(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        dsn = url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
        yield way, TestDatabase(kind=database.kind, dsn=dsn)
    finally:
        way.close()
        server.close()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()
