"""Probes and metrics over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from piko.errors import SettingsError
from piko_operator.metrics import OperatorMetrics

Reasons = Callable[[], list[str]]


class Probes:
    """`/healthz`, `/readyz`, `/metrics`; a probe is green when its reasons are none."""

    def __init__(self, *, metrics: OperatorMetrics, unhealthy: Reasons, unready: Reasons) -> None:
        self._metrics = metrics
        self._unhealthy = unhealthy
        self._unready = unready

    async def serve(self, stack: AsyncExitStack, *, host: str, port: int) -> int:
        """Listen until `stack` unwinds; the port. Raises `SettingsError` if the address cannot be used."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._scrape),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise SettingsError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "set PIKO_OPERATOR_HTTP_HOST and PIKO_OPERATOR_HTTP_PORT to a free address"
            ) from None
        return int(runner.addresses[0][1])

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self._unhealthy())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self._unready())

    async def _scrape(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._metrics.registry), headers={"Content-Type": content_type})


def _answer(reasons: list[str]) -> web.Response:
    if reasons:
        return web.Response(status=503, text="\n".join(reasons) + "\n")
    return web.Response(text="ok\n")
