"""A way to the API server that can be closed, slowed down, and made to answer with a status of one's own.

It can be led to another API server, and have watches break off meanwhile.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from yaml import safe_load

from tests.harness.control_plane import ControlPlane, write_kubeconfig

_TOO_OLD = b'"reason":"Expired","code":410'


class ApiProxy:
    """Passes requests on as the administrator; `kubeconfig` leads to it."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self.lead_to(control_plane)
        document = safe_load(control_plane.admin_kubeconfig.read_text(encoding="utf-8"))
        self._token = document["users"][0]["user"]["token"]
        self._folder = folder
        self.kubeconfig = folder / "proxy.kubeconfig"
        self.status: int | None = None
        """What requests are answered with, all or those that write."""
        self.writes_only = False
        self.delay_s = 0.0
        self.closed = False
        self.watches_again_after_s: int | None = None
        """How long whoever asks for a watch is told to wait before it asks again."""
        self.requests = 0
        self.watches = True
        """Whether there are any; `end_watches` ends those that there are."""
        self.too_old: list[str] = []
        """The path of each watch that could not go on, because its version was too old."""
        self._watching: dict[asyncio.Transport, str] = {}

    def lead_to(self, control_plane: ControlPlane) -> None:
        """Pass what follows on to that API server, which has to know the same administrator."""
        self._url = control_plane.url
        self._tls = ssl.create_default_context(cafile=str(control_plane.ca_file))

    @property
    def watched(self) -> set[str]:
        """The paths of the watches that there are."""
        return set(self._watching.values())

    def end_watches(self) -> None:
        """Break off every watch, and let none begin until `watches` is set."""
        self.watches = False
        for transport in list(self._watching):
            transport.abort()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        is_watch = "watch" in request.query
        if self.closed or (is_watch and not self.watches):
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionAbortedError
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.status is not None and (not self.writes_only or request.method != "GET"):
            body = {"kind": "Status", "status": "Failure", "message": "as the test wants it"}
            return web.json_response(body, status=self.status, headers={"Retry-After": "1"})
        if self.watches_again_after_s is not None and is_watch:
            body = {"kind": "Status", "status": "Failure", "message": "too many watches"}
            again = {"Retry-After": str(self.watches_again_after_s)}
            return web.json_response(body, status=429, headers=again)
        if not is_watch:
            return await self._pass_on(request)
        with self._noting(request):
            return await self._pass_on(request)

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        content = request.headers.get("Content-Type", "application/json")
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content}
        async with self._session.request(
            request.method,
            f"{self._url}{request.path_qs}",
            data=await request.read(),
            headers=headers,
            ssl=self._tls,
        ) as answer:
            reply = web.StreamResponse(status=answer.status, headers={"Content-Type": "application/json"})
            await reply.prepare(request)
            async for part in answer.content.iter_any():  # of a watch, as it comes
                if "watch" in request.query and _TOO_OLD in part:
                    self.too_old.append(request.path)
                await reply.write(part)
            await reply.write_eof()
            return reply

    @contextmanager
    def _noting(self, watch: web.Request) -> Iterator[None]:
        """Have it among those that `end_watches` ends."""
        if (transport := watch.transport) is None:
            yield
            return
        self._watching[transport] = watch.path
        try:
            yield
        finally:
            del self._watching[transport]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[ApiProxy]:
        application = web.Application()
        application.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(application, shutdown_timeout=0.1, access_log=None)
        async with aiohttp.ClientSession() as self._session:
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            try:
                port = _port(runner)
                nothing = self._folder / "none.crt"
                nothing.touch()
                write_kubeconfig(
                    self.kubeconfig, url=f"http://127.0.0.1:{port}", ca_file=nothing, token="unused"
                )
                yield self
            finally:
                await runner.cleanup()


def _port(runner: web.AppRunner) -> int:
    address: Any = runner.addresses[0]
    return int(address[1])
