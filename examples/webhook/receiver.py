"""Receives Piko's webhook: checks the signature, knows what it has seen, and prints one line for a person.

    WEBHOOK_KEY=whsec_… python receiver.py

It needs nothing but Python. With a package of Standard Webhooks, `verified` is one call of it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

TOLERANCE_S = 300
LONGEST = 100_000
REMEMBERED = 10_000


def verified(headers: Mapping[str, str], body: bytes, key: str, *, now: float) -> bool:
    """Whether `body` was posted by somebody who has `key`, less than five minutes ago."""
    secret = base64.b64decode(key.removeprefix("whsec_")) if key.startswith("whsec_") else key.encode()
    timestamp = headers.get("webhook-timestamp", "")
    if not timestamp.isdecimal() or abs(now - int(timestamp)) > TOLERANCE_S:
        return False  # somebody may post again what he has recorded
    signed = f"{headers.get('webhook-id', '')}.{timestamp}.".encode() + body
    expected = "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(expected.encode(), signature.encode()) for signature in given)


class Receiver(ThreadingHTTPServer):
    """Answers 204 once it has taken in a post, 401 to a signature that is not of `key`."""

    def __init__(self, address: tuple[str, int], key: str) -> None:
        super().__init__(address, _Post)
        self.key = key
        self.seen: OrderedDict[str, None] = OrderedDict()
        """A post may come twice, with the same id: a receiver with memory keeps this in its database."""

    def take_in(self, post_id: str, body: Mapping[str, Any]) -> None:
        """Do once what is to be done."""
        if post_id not in self.seen:
            print(f"{body['type']}: {body['text']}", flush=True)
        self.seen[post_id] = None
        while len(self.seen) > REMEMBERED:
            self.seen.popitem(last=False)


class _Post(BaseHTTPRequestHandler):
    timeout = 30

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LONGEST:
            self._answer(413)
            return
        receiver = cast(Receiver, self.server)
        body = self.rfile.read(int(length))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if not verified(headers, body, receiver.key, now=time.time()):
            self._answer(401)
            return
        receiver.take_in(headers["webhook-id"], json.loads(body))
        self._answer(204)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base's
        """One line for each post is enough."""


if __name__ == "__main__":
    if "WEBHOOK_KEY" not in os.environ:
        sys.exit("WEBHOOK_KEY is missing: set it to what PIKO_WEBHOOK_KEY is for the replicas")
    Receiver(("127.0.0.1", int(os.environ.get("PORT", "8000"))), os.environ["WEBHOOK_KEY"]).serve_forever()
