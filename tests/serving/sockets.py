"""Clients that do not behave: what they send, and whether the server still speaks to them."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request

from tests.harness.waiting import ANSWER_S, PATIENCE_S


def connect(port: int, sends: bytes = b"", *, host: str = "127.0.0.1") -> socket.socket:
    """A connection on which so much is sent and no more."""
    made = socket.create_connection((host, port), timeout=PATIENCE_S)  # a full backlog drops packets
    made.settimeout(ANSWER_S)
    made.sendall(sends)
    return made


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has hung up; an answer that waits to be read is dropped."""
    connection.setblocking(False)
    try:
        while True:
            if not connection.recv(65536):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def ask(
    port: int, path: str = "/healthz", *, method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, str]:
    """Status and body."""
    request = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def answer_of(port: int, path: str, *, method: str = "GET") -> tuple[int, str]:
    """Status and body; (0, "") where nobody answers, or not soon, so that a test that waits asks again."""
    try:
        return ask(port, path, method=method)
    except OSError:
        return 0, ""
