"""Requests to the API server, with the login, certificates and connections of kubernetes-asyncio.

Its generated client copies each header, parameter and body before it sends them, which took an eighth of a
request's time. So requests are made one level below it, where the login and the proxy are known as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from kubernetes_asyncio.client import ApiClient, ApiException, Configuration
from kubernetes_asyncio.config import ConfigException, load_incluster_config, load_kube_config

from piko.errors import SettingsError
from piko_operator.cluster_error import ClusterError

MANAGER = "piko-operator"
"""The field manager and the user agent of every request."""
_BUFFER = 2**21
"""Bytes that may wait to be read: an object may have a megabyte and a half."""


class ApiSession:
    """Sends requests to one API server over connections that are kept. For use on one event loop."""

    def __init__(self, configuration: Configuration) -> None:
        # Each watch keeps a connection, and there may be two for each namespace; `Cluster` bounds the others.
        configuration.connection_pool_maxsize = 0
        configuration.proxy = configuration.proxy or _proxy_for(configuration.host or "")
        self._client = ApiClient(configuration)
        self._host = configuration.host or ""
        rest = self._client.rest_client
        # A session that trusts the environment reads ~/.netrc before each request, in a thread.
        connector = rest.pool_manager.connector
        rest.pool_manager.detach()
        rest.pool_manager = aiohttp.ClientSession(connector=connector, read_bufsize=_BUFFER, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        timeout: float | aiohttp.ClientTimeout,  # noqa: ASYNC109 aiohttp's own, of which a watch has several
        query: Mapping[str, str] | None = None,
        content: str = "application/json",
        body: Any = None,
    ) -> aiohttp.ClientResponse:
        """The answer, which is still to be read and may be a refusal. `body` is sent as JSON.

        - `accept`, `content`: the media types of the answer and of `body`.
        - `timeout`: seconds for all of it.

        Raises `ClusterError` with the status 0 if there is no answer.
        """
        headers = {"Accept": accept, "Content-Type": content, "User-Agent": MANAGER}
        with reaching(method, path):
            await self._client.update_params_for_auth(headers, [], ["BearerToken"])
            answer: aiohttp.ClientResponse = await self._client.rest_client.request(
                method,
                self._host + path,
                query_params=dict(query or {}),
                headers=headers,
                body=body,
                _preload_content=False,
                _request_timeout=timeout,
            )
        return answer

    async def close(self) -> None:
        await self._client.close()


async def connect() -> ApiSession:
    """A session with the cluster that the pod runs in, otherwise with the one that KUBECONFIG names.

    Close it when it is no longer used. Raises `SettingsError` if there is no cluster to talk to.
    """
    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    except ConfigException:
        try:
            await load_kube_config(client_configuration=configuration)
        except (ConfigException, OSError) as error:
            raise SettingsError(
                f"no Kubernetes cluster to talk to: not in a pod, and KUBECONFIG cannot be used ({error}); "
                "run it in a cluster, or set KUBECONFIG to a kubeconfig file"
            ) from None
    return ApiSession(configuration)


@contextmanager
def reaching(method: str, path: str) -> Iterator[None]:
    """Raise `ClusterError` with the status 0 where the API server cannot be asked, or ends its answer."""
    try:
        yield
    except ApiException as error:
        raise ClusterError(
            f"{method} {path}: {error.status} {error.reason}", status=error.status or 0
        ) from None
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ClusterError(f"{method} {path}: {type(error).__name__} {error}", status=0) from error


def _proxy_for(url: str) -> str | None:
    """The proxy that the environment names for `url`, as HTTPS_PROXY and NO_PROXY do."""
    asked = urlsplit(url)
    if asked.hostname is None or proxy_bypass(asked.hostname):
        return None
    return getproxies().get(asked.scheme)
