"""The database of a benchmark: a MariaDB of its own on this machine, as durable as in production."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.database_servers import DatabaseServer
from tests.harness.servers import Servers


@asynccontextmanager
async def durable_mariadb() -> AsyncIterator[DatabaseServer]:
    """A server that has flushed a transaction to disk when it answers a COMMIT."""
    servers = Servers()
    try:
        folder = Path(servers.folder) / "durable"
        server = DatabaseServer(kind="mariadb", folder=folder, reaper=servers.reaper, durable=True)
        await asyncio.to_thread(server.start)
        try:
            yield server
        finally:
            server.kill()
    finally:
        servers.close()
