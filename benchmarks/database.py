"""The database of a benchmark: a server of its own on this machine, as durable as in production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.database_servers import DatabaseServer, ServerKind
from tests.harness.servers import Servers


@asynccontextmanager
async def durable_mariadb() -> AsyncIterator[DatabaseServer]:
    """A MariaDB that has flushed a transaction to disk when it answers a COMMIT."""
    async with durable_server("mariadb") as server:
        yield server


@asynccontextmanager
async def durable_server(kind: ServerKind) -> AsyncIterator[DatabaseServer]:
    """As `durable_mariadb`, of either kind. Raises `MissingToolError` where it is not installed."""
    servers = Servers()
    try:
        folder = Path(servers.folder) / "durable"
        server = DatabaseServer(kind=kind, folder=folder, reaper=servers.reaper, durable=True)
        await asyncio.to_thread(server.start)
        try:
            yield server
        finally:
            server.kill()
    finally:
        servers.close()
