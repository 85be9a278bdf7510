"""A way to the database that can be cut: for one replica alone, or at a COMMIT.

There the worst happens: it works and nobody is told, it works long after its connection has ended, or it
never arrives and its transaction stays open.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from sqlalchemy.engine import make_url

from tests.harness.databases import TestDatabase


class _AtCommit:
    """What is to happen at a COMMIT of which transaction; `seconds`: None if it is held until it may go."""

    def __init__(self, of: str, seconds: float | None) -> None:
        self.of = of.encode()
        self.seconds = seconds


class _Link:
    """What one connection has been told since its last COMMIT; statements are named when prepared."""

    _QUERY, _PREPARE, _EXECUTE = 3, 22, 23

    def __init__(self) -> None:
        self.said = b""
        self.commits = False
        self.cut = False
        self.waits = False
        """Whether the server has still to answer."""
        self._prepared: dict[bytes, bytes] = {}
        self._preparing: bytes | None = None

    def asked(self, data: bytes) -> None:
        """A packet of the client, or the rest of one."""
        command, rest = (data[4], data[5:]) if len(data) > 4 else (0, b"")
        self.commits = command == self._QUERY and rest == b"COMMIT"
        self._preparing = rest if command == self._PREPARE else None
        self.said += self._prepared.get(rest[:4], b"") if command == self._EXECUTE else rest

    def answered(self, data: bytes) -> None:
        """A packet of the server."""
        if self._preparing is not None and len(data) > 8 and data[4] == 0:
            self._prepared[data[5:9]] = self._preparing
        self._preparing = None


class CuttableWay:
    """Passes bytes on to a server, until it is told not to."""

    def __init__(self, *, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._writers: set[asyncio.StreamWriter] = set()
        self._closed = False
        self._cut_after_commit = False
        self._late: _AtCommit | None = None
        self._lost: _AtCommit | None = None
        self._may_go = asyncio.Event()
        self._questions_vanish = False
        self._answers_vanish = False
        self.keeps_sessions = False
        """Whether the server's end stays open when a client's connection ends, as behind a pooling proxy."""
        self.delay_s = 0.0
        """How long each question is held up."""
        self.cuts = 0

    def close(self) -> None:
        """Break what is connected, and refuse what comes."""
        self._closed = True
        self._may_go.set()
        for writer in self._writers:
            writer.transport.abort()

    def open(self) -> None:
        """End `close` and `swallow`, and spare the COMMITs to come."""
        self._closed = self._questions_vanish = self._answers_vanish = False
        self._late = self._lost = None

    def swallow(self, *, questions: bool = False, answers: bool = False) -> None:
        """Lose what goes in one direction; connections stay and hang."""
        self._questions_vanish, self._answers_vanish = questions, answers

    def cut_next_commit(self) -> None:
        """The next COMMIT reaches the server and works; its answer never arrives."""
        self._cut_after_commit = True

    def delay_next_commit(self, seconds: float, *, of: str = "") -> None:
        """The next COMMIT reaches the server so much later, when its client's connection has long ended.

        The next one of a transaction in which a statement holds the text `of`.
        """
        self._late = _AtCommit(of, seconds)

    def hold_next_commit(self) -> None:
        """The next COMMIT reaches the server after `let_commit_go`; its client's connection ends before."""
        self._may_go.clear()
        self._late = _AtCommit("", None)

    def let_commit_go(self) -> None:
        """End `hold_next_commit`."""
        self._may_go.set()

    def lose_next_commit(self, *, of: str = "") -> None:
        """From the next such COMMIT on nothing arrives; connections and the transaction stay open."""
        self._lost = _AtCommit(of, 0.0)

    @property
    def is_lost(self) -> bool:
        """Whether a COMMIT was lost, and nothing has arrived since."""
        return self._questions_vanish

    @property
    def commit_is_to_be_late(self) -> bool:
        """Whether the COMMIT that is to be late has not come yet."""
        return self._late is not None

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
        link = _Link()
        mine = {writer, server_writer}
        self._writers |= mine
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forth(reader, server_writer, writer, link))
                group.create_task(self._back(server_reader, writer, link))
        finally:
            self._writers -= mine
            for each in mine:
                each.transport.abort()

    async def _forth(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        client: asyncio.StreamWriter,
        link: _Link,
    ) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                link.asked(data)
                if link.commits:
                    if self._cut_after_commit:
                        self._cut_after_commit = False
                        link.cut = True
                    if self._lost is not None and self._lost.of in link.said:
                        self._lost, self._questions_vanish = None, True
                    if self._late is not None and self._late.of in link.said:
                        late, self._late = self._late, None
                        client.transport.abort()
                        await (self._may_go.wait() if late.seconds is None else asyncio.sleep(late.seconds))
                        link.cut = True
                        writer.write(data)
                        await writer.drain()
                        return  # what the server answers ends the connection
                    link.said = b""
                if self.delay_s and not link.waits:  # once for a question of several packets
                    await asyncio.sleep(self.delay_s)
                link.waits = True
                if self._questions_vanish:
                    continue
                writer.write(data)
                await writer.drain()
        if not self.keeps_sessions:
            writer.transport.abort()

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: _Link) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                link.answered(data)
                link.waits = False
                if link.cut:  # the server has answered, so it has committed
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
