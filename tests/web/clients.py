"""Clients of the application, in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from piko.clock import Clock, SystemClock
from piko.web.application import create_web
from piko.web.options import WebSettings
from tests.harness.databases import TestDatabase


class StandingClock(SystemClock):
    """No time passes: a minute's bound is reached however slow the machine is."""

    def monotonic(self) -> float:
        return 0.0


@asynccontextmanager
async def serving(
    database: TestDatabase, *, clock: Clock | None = None, most_streams: int = 80, **settings: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application with `settings`, over `database`."""
    app = create_web(
        settings=WebSettings(dsn=SecretStr(database.dsn), timezone="UTC", **settings),
        clock=clock or SystemClock(),
        most_streams=most_streams,
    )
    async with client_of(app) as client:
        yield client


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` while it runs; an error of the application is answered as a server answers it."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False, client=("127.0.0.1", 1))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://piko.test") as client,
    ):
        yield client
