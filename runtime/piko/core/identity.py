"""Identifiers that Piko creates."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket

from piko.clock import Clock

_CHANCE = 20
_BLOCK = 128
_LONGEST_HOST_NAME = 255


class Ids:
    """Creates ids of 32 hex digits: milliseconds first, so that new rows end an index, then random.

    Random digits are read from the system in blocks, because the system call costs more than the rest of an
    id.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chance: list[str] = []

    def new(self) -> str:
        """A new unique id."""
        if not self._chance:
            digits = secrets.token_hex(_BLOCK * _CHANCE // 2)
            self._chance = [digits[at : at + _CHANCE] for at in range(0, len(digits), _CHANCE)]
        milliseconds = int(self._clock.now().timestamp() * 1000)
        return f"{milliseconds:012x}{self._chance.pop()}"


def content_hash(*parts: str | None) -> str:
    """A hash of `parts` that distinguishes None from an empty text."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"\0" if part is None else b"\1" + len(part).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()


def host_name() -> str:
    """The pod's name in a cluster, otherwise the machine's."""
    return (os.environ.get("HOSTNAME") or socket.gethostname())[:_LONGEST_HOST_NAME]
