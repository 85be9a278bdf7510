from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from pydantic import SecretStr

from piko.clock import SystemClock
from piko.settings.web import WebSettings
from piko.web.application import create_web
from tests.harness.databases import TestDatabase


@pytest.fixture
async def web(emptied_database: TestDatabase) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application over tables without a row, on each kind of database."""
    app = create_web(
        settings=WebSettings(dsn=SecretStr(emptied_database.dsn), timezone="UTC"), clock=SystemClock()
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://piko.test") as client,
    ):
        yield client
