"""Identities that Piko makes."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket

from piko.clock import Clock


def new_id(clock: Clock) -> str:
    """32 hex digits: milliseconds first, so that new rows land at the end of the index, then chance."""
    milliseconds = int(clock.now().timestamp() * 1000)
    return f"{milliseconds:012x}{secrets.token_hex(10)}"


def content_hash(*parts: str | None) -> str:
    """A hash of `parts` in which absence differs from emptiness."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"\0" if part is None else b"\1" + len(part).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()


def host_name() -> str:
    """The pod's name in a cluster, else the machine's."""
    return os.environ.get("HOSTNAME") or socket.gethostname()
