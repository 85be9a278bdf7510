"""The HTTP server of a replica that runs by itself, without an ASGI server around it.

It goes on answering while the replica drains, so that probes and scrapes see the stop; only then it closes.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import FrameType

import uvicorn
from fastapi import FastAPI

from piko.errors import SettingsError


class HttpServer(uvicorn.Server):
    """Serves until `should_exit`; a signal to stop calls `on_signal` and does nothing else."""

    def __init__(self, app: FastAPI, *, on_signal: Callable[[], None]) -> None:
        # Logging is the process's own business, and so is the replica's life: no lifespan.
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"))
        self._on_signal = on_signal

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is uvicorn's
        self._on_signal()


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
