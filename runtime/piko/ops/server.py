"""The HTTP server of a replica that runs by itself, without an ASGI server around it.

It has a thread and an event loop of its own: a handler that blocks the loop of the jobs must not keep a probe
from its answer. It goes on answering while the replica drains, so that probes and scrapes see the stop; only
then it closes.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import uvicorn

from piko.errors import SettingsError
from piko.ops.http import PATHS

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Front:
    """Probes and metrics are answered in the thread of the server; all else in that of the jobs.

    Routes that somebody added to the application may use what belongs to the event loop of the jobs.
    """

    def __init__(self, *, probes: AsgiApp, app: AsgiApp, loop: asyncio.AbstractEventLoop) -> None:
        self._probes = probes
        self._app = app
        self._loop = loop

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in PATHS:
            await self._probes(scope, receive, send)
            return
        here = asyncio.get_running_loop()

        async def receive_there() -> Message:
            message: Message = await _on(here, _coroutine(receive()))
            return message

        async def send_there(message: Message) -> None:
            await _on(here, _coroutine(send(message)))

        await _on(self._loop, _coroutine(self._app(scope, receive_there, send_there)))


class HttpServer:
    """Serves in a thread of its own until `stop`."""

    def __init__(self, app: AsgiApp) -> None:
        # Logging is the process's own business, and so are its life and its signals.
        config = uvicorn.Config(app, interface="asgi3", log_config=None, access_log=False, lifespan="off")
        self._server = uvicorn.Server(config)

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
        self._server.should_exit = True

    def _serve(self, listening: socket.socket) -> None:
        asyncio.run(self._server.serve(sockets=[listening]))


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises `SettingsError` where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise SettingsError(
            f"setting `http_host` = {host!r}, `http_port` = {port}: cannot listen there: {error.strerror}; "
            "set PIKO_HTTP_HOST or PIKO_HTTP_PORT to an address that is free"
        ) from None


async def _on(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What `coroutine` returns or raises, run on another thread's `loop`."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


async def _coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
