"""Requests to the API server by `kubectl proxy`: whatever signs the user in at the cluster does so here, too.

It listens at a socket in a folder that is the user's alone, lets through what it is asked to, and ends with
the command.
"""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from piko.cli.kubectl_calls import Kubectl, KubectlError

_ANSWER_S = 60.0


@contextmanager
def proxied(kubectl: Kubectl, *, accept: str, reject: str) -> Iterator[Path]:
    """The socket of a proxy that runs as long as the context lasts. Raises `KubectlError`.

    - `accept`: the paths that it lets through, as a regular expression.
    - `reject`: the methods that it does not.
    """
    with TemporaryDirectory(prefix="piko-") as folder:
        where = Path(folder) / "socket"
        words = ["proxy", f"--unix-socket={where}", f"--accept-paths={accept}", f"--reject-methods={reject}"]
        with kubectl.child(words) as proxy:
            _until_it_serves(proxy)
            try:
                yield where
            finally:
                proxy.terminate()


class SocketConnection(HTTPConnection):
    """HTTP over a socket of this machine."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_ANSWER_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_ANSWER_S)
        self.sock.connect(str(self._path))


def _until_it_serves(proxy: subprocess.Popen[str]) -> None:
    assert proxy.stdout is not None
    assert proxy.stderr is not None
    if not proxy.stdout.readline().startswith("Starting to serve"):
        answer = proxy.stderr.read().strip() or "it ended"
        raise KubectlError(f"kubectl proxy: {answer}", answer=answer)
