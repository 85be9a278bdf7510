"""A shop of one's own, on the loopback address: `GET /pages/N` answers `{"page": N, "cents": …}`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class _Prices(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = int(self.path.rpartition("/")[2])
        body = json.dumps({"page": page, "cents": (page * 37 + 11) % 500}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Be quiet."""


@asynccontextmanager
async def serve() -> AsyncGenerator[str, None]:
    """Serve prices while the block lasts; the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Prices)
    thread = Thread(target=partial(server.serve_forever, poll_interval=0.05), name="price list")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
