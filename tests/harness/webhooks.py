"""A receiver of webhooks on this machine, which answers as a test says."""

from __future__ import annotations

import importlib.util
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.harness.waiting import PATIENCE_S

KEY = "whsec_bWFkZSBmb3IgdGhlIHRlc3RzIG9mIHRoZSB3ZWJob29r"


@dataclass(frozen=True, slots=True)
class Posted:
    """One post as it arrived; names of `headers` are in small letters."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def post_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def said(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.body)
        return said


Answer = Callable[[Posted], int | None]
"""The status to answer with; None: the connection is closed instead."""


class WebhookServer:
    """Listens while it is open. `answer` may wait; it is asked on a thread of its own for each post."""

    def __init__(
        self, answer: Answer = lambda _: 204, *, tls: ssl.SSLContext | None = None, location: str = ""
    ) -> None:
        self.answer = answer
        self.location = location
        self.posts: list[Posted] = []
        self.over = threading.Event()
        """Set at the end, so that an answer that waits ends."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if tls is None else "https"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"{self._scheme}://localhost:{self._server.server_port}/hooks/T0P-5ECRET"

    def __enter__(self) -> WebhookServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join(PATIENCE_S)
        self._server.server_close()

    def hang(self, _: Posted) -> None:
        """An answer that never comes."""
        self.over.wait(PATIENCE_S)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                posted = Posted(self.path, headers, self.rfile.read(int(headers["content-length"])))
                outer.posts.append(posted)
                status = outer.answer(posted)
                if status is None:
                    self.close_connection = True
                    return
                self.send_response(status)
                if outer.location:
                    self.send_header("Location", outer.location)
                self.end_headers()
                self.wfile.write(f"{status} for {self.path}".encode())

            def log_message(self, *_: object) -> None:
                """Nothing."""

        return Handler


def example_receiver() -> ModuleType:
    """The module of `examples/webhook`."""
    path = Path(__file__).parents[2] / "examples" / "webhook" / "receiver.py"
    spec = importlib.util.spec_from_file_location("receiver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
