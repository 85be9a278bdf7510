"""Listening sockets. `::` means every address, IPv6 and IPv4."""

from __future__ import annotations

import errno
import socket

from piko.errors import SettingsError

EVERYWHERE = "::"

_BACKLOG = 128
_NO_IPV6 = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


def listen(host: str, port: int, *, prefix: str = "PIKO_", setting: str = "http") -> socket.socket:
    """A listening socket. At `::` it accepts IPv4 too, or only IPv4 if this host has no IPv6.

    What is written to its connections is sent at once: an answer is a head and a body, and the second of two
    small packets would wait 40 ms for the client to acknowledge the first one.

    Raises `SettingsError` if the address cannot be used; it names the settings, `setting`_host and
    `setting`_port, with their `prefix`.
    """
    host = host.removeprefix("[").removesuffix("]")
    try:
        listening = _everywhere(port) if host == EVERYWHERE else _at(host, port)
    except (OSError, ValueError) as error:  # ValueError, such as UnicodeError: not a valid host name
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SettingsError(
            f"setting `{setting}_host` = {host!r}, `{setting}_port` = {port}: cannot listen there: {reason}; "
            f"set {prefix}{setting.upper()}_HOST or {prefix}{setting.upper()}_PORT to an address that is free"
        ) from None
    # Accepted sockets inherit it. asyncio sets it only where `socket.proto` says TCP, which is 0 here.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _at(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=_family(host, port), backlog=_BACKLOG)


def _everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(
                (EVERYWHERE, port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True
            )
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise
    return socket.create_server(("0.0.0.0", port), backlog=_BACKLOG)  # noqa: S104 requested by the setting


def _family(host: str, port: int) -> socket.AddressFamily:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    families = [family for family, *_ in found]
    return socket.AF_INET if socket.AF_INET in families else families[0]
