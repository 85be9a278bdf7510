"""Builds the way of access that the settings name."""

from __future__ import annotations

from functools import partial

from piko.clock import Clock
from piko.leadership.api_access import find_access, own_namespace
from piko.leadership.api_server import ApiServer
from piko.web.access.kubernetes import Kubernetes
from piko.web.access.proxy_headers import ProxyHeaders
from piko.web.access.roles import Access, ReadOnly
from piko.web.access.tokens import Tokens
from piko.web.options import WebSettings

_TIMEOUT_S = 5.0


def access_of(settings: WebSettings, *, clock: Clock) -> Access:
    """What knows the callers. Raises `SettingsError` if it cannot work."""
    if settings.access == "token":
        return Tokens(folder=settings.tokens_dir)
    if settings.access == "header":
        return ProxyHeaders(
            user=settings.user_header,
            groups=settings.groups_header,
            operators=settings.operators,
            trusted=settings.trusted_proxies,
        )
    if settings.access == "kubernetes":
        api = ApiServer(find_access=partial(find_access, clock=clock), timeout_s=_TIMEOUT_S)
        return Kubernetes(api=api, namespace=settings.namespace or own_namespace(), clock=clock)
    return ReadOnly()
