"""The program of `helm test`, against a server that becomes ready."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.chart.rendering import CHART
from tests.harness.waiting import PATIENCE_S

PROGRAM = CHART / "files" / "wait_until_ready.py"


@pytest.fixture
def becomes_ready() -> Iterator[str]:
    """The URL of a server whose first answer is 503."""
    answers = iter([503])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(next(answers, 200))
            self.end_headers()
            self.wfile.write(b"leader")

        def log_message(self, *arguments: object) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/readyz"
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("programs")
def test_it_waits_until_the_service_is_ready(becomes_ready: str) -> None:
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM.read_text(encoding="utf-8"), becomes_ready],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert (outcome.returncode, outcome.stdout) == (0, f"{becomes_ready}: 200 leader\n")
