"""The HTTP server of a program whose own event loop may be blocked.

It has its own thread and event loop, so that a handler that blocks the jobs' loop does not keep a probe from
being answered. It continues to answer while the program drains, so that probes and scrapes see the stop, and
closes last.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn
from prometheus_client import Counter

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko.serving.door import Door, most_connections
from piko.serving.probes import AsgiApp
from piko.serving.seldom import Seldom, SeldomFilter

_LAST_ANSWERS_S = 2

log = get_logger(__name__)


class HttpServer:
    """Serves `app` in its own thread until `stop`; `dropped` counts dropped connections by `why`.

    With `lifespan` the application starts and stops with it, on that thread's event loop. `stop` calls
    `stopping`, to end answers that have no end of their own.
    """

    def __init__(
        self,
        app: AsgiApp,
        *,
        clock: Clock,
        dropped: Counter,
        most: int | None = None,
        lifespan: bool = False,
        stopping: Callable[[], None] | None = None,
    ) -> None:
        # The process itself configures logging and handles its life cycle and signals.
        config = uvicorn.Config(
            app,
            interface="asgi3",
            http="h11",
            ws="none",
            lifespan="on" if lifespan else "off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=_LAST_ANSWERS_S,
        )
        self._server = uvicorn.Server(config)
        self._clock = clock
        self._dropped = dropped
        self._most = most_connections() if most is None else most
        self._seldom = Seldom(clock=clock)
        self._stopping = stopping

    async def serve(self, listening: socket.socket) -> None:
        """Answer at `listening`; returns after `stop`. Raises what ends the server."""
        with ThreadPoolExecutor(1, thread_name_prefix="piko-http") as thread:
            loop = asyncio.get_running_loop()
            serving = loop.run_in_executor(thread, self._serve, listening)
            try:
                await asyncio.shield(serving)
            finally:
                self.stop()
                await asyncio.wait({serving})

    def stop(self) -> None:
        """Stop answering; returns at once."""
        self._server.should_exit = True
        if self._stopping is not None:
            self._stopping()

    def _serve(self, listening: socket.socket) -> None:
        seldom = SeldomFilter(self._seldom)
        # Any client can make uvicorn log an error for each request.
        complaints = logging.getLogger("uvicorn.error")
        complaints.addFilter(seldom)
        try:
            asyncio.run(self._open(listening))
        finally:
            complaints.removeFilter(seldom)

    async def _open(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().set_exception_handler(self._complain)
        with Door(
            server=self._server,
            listening=listening,
            clock=self._clock,
            dropped=self._dropped,
            most=self._most,
        ):
            await self._server.serve(sockets=[])

    def _complain(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if (times := self._seldom.due(f"{context['message']} {type(error)}")) is not None:
            log.error("http_connection_failed", what=context["message"], exc_info=error, times=times)
