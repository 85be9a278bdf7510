"""Loopback ports.

A port is chosen before the program that listens there is started, and a program that was killed may come
back to its port. So that nobody else chooses it in between, each process of tests, of this run or of another
one of the same person, keeps a range of ports to itself: by a lock that ends with the process.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

# Below what systems give to outgoing connections, so that none of those takes a port between its choice and
# its use.
_PORTS = range(15_000, 32_000)
_IN_A_RANGE = 200

_locks: list[IO[str]] = []
"""Held until this process ends."""


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on, and that was not given out lately."""
    for port in itertools.islice(_ours(), _IN_A_RANGE):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port found on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}")


@cache
def _ours() -> Iterator[int]:
    """The ports of this process, one after the other, again and again."""
    folder = Path(tempfile.gettempdir()) / f"piko-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    ranges = _PORTS[::_IN_A_RANGE]
    for first in random.sample(ranges, len(ranges)):
        lock = (folder / f"{first}.lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _locks.append(lock)
        return itertools.cycle(range(first, first + _IN_A_RANGE))
    raise AssertionError(f"{len(ranges)} processes of tests use all ranges of ports; their locks: {folder}")
