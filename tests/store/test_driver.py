"""What the driver has opened is closed, whatever becomes of those who asked for it."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import make_url

from piko.store.driver import connect
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async


class Gate:
    """Passes connections on to a database, and what the database says only once it is `open`."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self.open = asyncio.Event()
        self.asked = asyncio.Event()
        self.hung_up = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._host, self._port)
        self.asked.set()

        async def answer() -> None:
            await self.open.wait()
            while said := await there.read(65_536):
                writer.write(said)

        answering = asyncio.create_task(answer())
        while said := await reader.read(65_536):
            back.write(said)
        self.hung_up.set()
        answering.cancel()
        for end in (back, writer):
            end.close()


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_connection_is_closed_whose_asker_was_cancelled_while_it_was_made(
    times: int, mariadb: TestDatabase
) -> None:
    """A server cancels the task of a request whose client has left again and again until it ends."""
    url = make_url(mariadb.dsn)
    gate = Gate(url.host or "", url.port or 0)
    server = await asyncio.start_server(gate.serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        asking = asyncio.create_task(
            connect(host="127.0.0.1", port=port, user=url.username, password=url.password, db=url.database)
        )
        await gate.asked.wait()
        for _ in range(times):
            asking.cancel()
            await asyncio.sleep(0)
        gate.open.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await wait_until_async(gate.hung_up.is_set, what="the end of the connection")
