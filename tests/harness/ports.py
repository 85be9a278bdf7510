"""Loopback ports."""

from __future__ import annotations

import random
import socket

# Below what systems give to outgoing connections, so that none of those takes a port between its choice and
# its use; at random, so that runs side by side choose differently.
_PORTS = range(15_000, 32_000)


def free_port() -> int:
    """A TCP port of the loopback address that nothing listens on at this moment."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError(f"no free port found on 127.0.0.1 between {_PORTS.start} and {_PORTS.stop}")
