"""Probes and metrics as a plain ASGI application, so that no framework is imported for three endpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from piko.serving.unhurried import Unhurried

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

PATHS = frozenset({"/healthz", "/readyz", "/metrics"})

_METHODS = ("GET", "HEAD")
_TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """The result of a probe: 200 with one line, or 503 with one reason per line."""

    ok: bool
    lines: tuple[str, ...]


class Probes:
    """`/healthz`, `/readyz` and `/metrics`, to GET and to HEAD.

    Metrics are encoded on a thread of their own, one scrape at a time and unhurried: with thousands of jobs
    that takes a while, and neither a probe nor a job waits for it.
    """

    def __init__(
        self,
        *,
        health: Callable[[], ProbeResult],
        readiness: Callable[[], ProbeResult],
        metrics: CollectorRegistry,
    ) -> None:
        self._probes = {"/healthz": health, "/readyz": readiness}
        self._metrics = Unhurried(metrics)
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="piko-metrics")

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        if _path(scope) == "/metrics" and scope["method"] in _METHODS:
            loop = asyncio.get_running_loop()
            status, content_type, body = await loop.run_in_executor(self._encoding, self._scrape, scope)
        else:
            status, content_type, body = self._answer(scope)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            *([(b"allow", b"GET, HEAD")] if status == 405 else []),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    def _answer(self, scope: Scope) -> tuple[int, str, bytes]:
        path = _path(scope)
        if path not in PATHS:
            return 404, _TEXT, f"not found; endpoints: {', '.join(sorted(PATHS))}\n".encode()
        if scope["method"] not in _METHODS:
            return 405, _TEXT, b"expected GET or HEAD\n"
        result = self._probes[path]()
        text = "".join(f"{line}\n" for line in result.lines)
        return (200 if result.ok else 503), _TEXT, text.encode(errors="replace")

    def _scrape(self, scope: Scope) -> tuple[int, str, bytes]:
        encode, content_type = choose_encoder(_accepted(scope))
        return 200, content_type, encode(self._metrics)


def _path(scope: Scope) -> str:
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _accepted(scope: Scope) -> str:
    found = [value for name, value in scope["headers"] if name == b"accept"]
    return b",".join(found).decode("latin-1")
