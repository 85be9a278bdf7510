from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.harness.databases import TestDatabase
from tests.web.clients import serving


@pytest.fixture
async def web(emptied_database: TestDatabase) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application over tables without a row, on each kind of database; nobody may act."""
    async with serving(emptied_database) as client:
        yield client


@pytest.fixture
async def acting(emptied_database: TestDatabase) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an operator's, whom a proxy names."""
    async with serving(
        emptied_database, access="header", operators=("ann",), trusted_proxies=("127.0.0.1/32",)
    ) as client:
        client.headers["X-Forwarded-User"] = "ann"
        yield client
