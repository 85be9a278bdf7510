"""Chooses the event loop that answers a request: the server's or the jobs'."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any

from piko.serving.probes import PATHS, AsgiApp, Message, Probes, Receive, Scope, Send


class Front:
    """Answers probes and metrics in the server's thread, and the rest by `app` on the jobs' event loop.

    Routes that a user adds to the application may use objects that belong to the jobs' event loop. Without
    `app` there are only probes and metrics.
    """

    def __init__(self, *, probes: Probes, app: AsgiApp | None, loop: asyncio.AbstractEventLoop) -> None:
        self._probes = probes
        self._app = app
        self._loop = loop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._app is None or (scope["type"] == "http" and scope["path"] in PATHS):
            await self._probes(scope, receive, send)
            return
        here = asyncio.get_running_loop()

        async def receive_there() -> Message:
            message: Message = await _on(here, _coroutine(receive()))
            return message

        async def send_there(message: Message) -> None:
            await _on(here, _coroutine(send(message)))

        await _on(self._loop, _coroutine(self._app(scope, receive_there, send_there)))


async def _on(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run `coroutine` on another thread's `loop`; returns or raises its result."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


async def _coroutine(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
