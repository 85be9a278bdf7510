"""The application behind a real server, and who follows its events."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from pydantic import SecretStr

from piko.clock import SystemClock
from piko.web.options import WebSettings
from piko.web.server import web_server
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S


@asynccontextmanager
async def served(database: TestDatabase, *, most: int | None = None, **settings: Any) -> AsyncIterator[str]:
    """The origin of the application over `database`, for at most `most` connections."""
    server = web_server(
        WebSettings(dsn=SecretStr(database.dsn), timezone="UTC", **settings),
        clock=SystemClock(),
        registry=CollectorRegistry(),
        most=most,
    )
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        serving = asyncio.create_task(server.serve(listening))
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.stop()
            await serving


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of a stream."""

    id: str
    kind: str
    data: Any


class Listener:
    """Follows the events of one answer."""

    def __init__(self, answer: httpx.Response) -> None:
        self._lines = answer.aiter_lines()

    async def next(self) -> Heard:
        """The next event; fails if none comes."""
        found: dict[str, str] = {}
        async with asyncio.timeout(PATIENCE_S):
            async for line in self._lines:
                name, _, value = line.partition(": ")
                if name:
                    found[name] = value
                elif "event" in found:
                    return Heard(found["id"], found["event"], json.loads(found["data"]))
        raise AssertionError("the stream has ended")

    async def ended(self) -> bool:
        """Whether the stream ends."""
        async with asyncio.timeout(PATIENCE_S):
            async for _ in self._lines:
                pass
        return True


@asynccontextmanager
async def listening(origin: str, *, after: str | None = None) -> AsyncIterator[Listener]:
    """A listener of the events of `origin`, after the event of that id."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with (
        httpx.AsyncClient(base_url=origin, timeout=PATIENCE_S) as client,
        client.stream("GET", "/api/v1/events", headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Listener(answer)
