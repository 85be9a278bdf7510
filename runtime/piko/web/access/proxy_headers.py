"""`web_access = header`: a proxy in front knows who asks, and says so in headers.

Anybody can send a header, so it counts only in requests from `web_trusted_proxies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers

from piko.errors import SettingsError
from piko.web.access.roles import UNKNOWN, Caller, Role


class ProxyHeaders:
    """Knows callers by the headers of a trusted proxy."""

    def __init__(self, *, user: str, groups: str, operators: Sequence[str], trusted: Sequence[str]) -> None:
        """Take the user's name from the header `user` and groups, separated by commas, from `groups`.

        - `operators`: users and groups that may act.
        - `trusted`: addresses and networks of proxies. Raises `SettingsError` if one is none.
        """
        self._user = user
        self._groups = groups
        self._operators = frozenset(operators)
        self._trusted = [_network(text) for text in trusted]

    async def caller(self, headers: Headers, client: str) -> Caller:
        if not self._trusts(client):
            why = "the request does not come from a proxy that `web_trusted_proxies` names"
            return Caller(who=UNKNOWN, role=Role.NOBODY, why_not=why)
        who = headers.get(self._user, "").strip()
        if not who:
            return Caller(who=UNKNOWN, role=Role.NOBODY, why_not=f"the proxy sent no {self._user}")
        groups = {name.strip() for name in headers.get(self._groups, "").split(",")}
        acts = bool(self._operators & {who, *groups})
        why = "neither the user nor a group of theirs is in `web_operators`"
        return Caller(who=who, role=Role.OPERATOR if acts else Role.VIEWER, why_not=why)

    async def close(self) -> None:
        pass

    def _trusts(self, client: str) -> bool:
        try:
            address = ip_address(client)
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise SettingsError(
            f"setting `web_trusted_proxies` holds {text!r}; expected addresses or networks like 10.0.0.0/8"
        ) from None
