"""Identifiers that Piko creates."""

from __future__ import annotations

import hashlib
import os
import secrets
import socket
import threading
from datetime import datetime

from piko.clock import Clock

_CHANCE = 20
_BLOCK = 128
_SAME_MOMENT_S = 0.001
_LONGEST_HOST_NAME = 255


class Ids:
    """Creates ids of 32 hex digits: milliseconds first, so that new rows end an index, then random.

    Random digits are read from the system in blocks, because the system call costs more than the rest of an
    id.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._chance: list[str] = []
        self._prefix = ""
        self._read_at = float("-inf")

    def new(self) -> str:
        """A new unique id."""
        if not self._chance:
            digits = secrets.token_hex(_BLOCK * _CHANCE // 2)
            self._chance = [digits[at : at + _CHANCE] for at in range(0, len(digits), _CHANCE)]
        moment = self._clock.monotonic()
        if not 0 <= moment - self._read_at < _SAME_MOMENT_S:
            self._prefix = id_at(self._clock.now())
            self._read_at = moment
        return self._prefix + self._chance.pop()


class OrderedIds:
    """`Ids` of which each is greater than all that were made before it, by whichever thread.

    They name what people read in its order, such as two changes of one transaction, which one millisecond
    may hold.
    """

    def __init__(self, clock: Clock) -> None:
        self._ids = Ids(clock)
        self._last = ""
        self._turn = threading.Lock()

    def new(self) -> str:
        """A new unique id."""
        with self._turn:
            found = self._ids.new()
            if found <= self._last:
                found = f"{int(self._last, 16) + 1:032x}"
            self._last = found
            return found


def id_at(moment: datetime) -> str:
    """How ids begin that are made at `moment`: less than each of them, more than those from before."""
    return f"{int(moment.timestamp() * 1000):012x}"


def content_hash(*parts: str | None) -> str:
    """A hash of `parts` that distinguishes None from an empty text."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"\0" if part is None else b"\1" + len(part).to_bytes(8, "big") + part.encode())
    return digest.hexdigest()


def host_name() -> str:
    """The pod's name in a cluster, otherwise the machine's."""
    return (os.environ.get("HOSTNAME") or socket.gethostname())[:_LONGEST_HOST_NAME]
