"""Versions of Secrets and ConfigMaps, by their metadata alone: their content is never asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp

from piko.api_path import api_path
from piko_operator.api_session import ApiSession
from piko_operator.cluster_error import ClusterError
from piko_operator.sources import Source, SourceKind

_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_ONE = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_PAGE = 500
_WATCH_S = 240
"""Seconds after which the API server ends a watch."""
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10.0, sock_connect=10.0, sock_read=300.0)
"""Seconds for the connection, and between two parts of an answer."""
_LONGEST = 4 * 1024 * 1024
"""Bytes of one event; metadata has at most about a megabyte and a half."""
_EXPIRED = 410

Change = tuple[Source, str | None]
"""An object and its version; None: it was deleted."""


class MetadataFeed:
    """Lists and watches. Raises only `ClusterError`."""

    def __init__(self, *, session: ApiSession) -> None:
        self._session = session

    async def list(self, kind: SourceKind, namespace: str | None) -> tuple[dict[Source, str], str]:
        """The version of every object of `kind`, in one namespace or in all, and where a watch continues."""
        found: dict[Source, str] = {}
        token = ""
        while True:
            query = {"limit": str(_PAGE), **({"continue": token} if token else {})}
            response = await self._get(kind, namespace, query, accept=_LIST)
            try:
                page = json.loads(await _within(response.read(), kind))
            finally:
                response.close()
            found |= {_source(kind, item): _version(item) for item in page["items"]}
            token = page["metadata"].get("continue", "")
            if not token:
                return found, str(page["metadata"]["resourceVersion"])

    async def changes(self, kind: SourceKind, namespace: str | None, *, since: str) -> AsyncIterator[Change]:
        """Every change after `since`, until the API server ends the watch or has forgotten `since`."""
        query = {
            "watch": "true",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_S),
        }
        response = await self._get(kind, namespace, query, accept=_ONE)
        try:
            async for line in _lines(response, kind):
                event = json.loads(line)
                if event["type"] == "ERROR":
                    if event["object"].get("code") == _EXPIRED:
                        return
                    message = f"watch of {kind.plural}: {event['object'].get('message')}"
                    raise ClusterError(message, status=int(event["object"].get("code") or 0))
                if event["type"] != "BOOKMARK":
                    source, version = _source(kind, event["object"]), _version(event["object"])
                    yield source, None if event["type"] == "DELETED" else version
        finally:
            response.close()

    async def _get(
        self, kind: SourceKind, namespace: str | None, query: Mapping[str, str], *, accept: str
    ) -> aiohttp.ClientResponse:
        scope = () if namespace is None else ("namespaces", namespace)
        path = api_path("api", "v1", *scope, kind.plural)
        response = await self._session.request("GET", path, query=query, accept=accept, timeout=_TIMEOUT)
        if response.status >= 300:
            response.close()
            raise ClusterError(f"GET {path}: {response.status} {response.reason}", status=response.status)
        return response


async def _lines(response: aiohttp.ClientResponse, kind: SourceKind) -> AsyncIterator[bytes]:
    """The lines of an answer as they come; aiohttp's own reader takes none of more than 64 KiB."""
    rest = b""
    while part := await _within(response.content.readany(), kind):
        *whole, rest = (rest + part).split(b"\n")
        for line in filter(None, whole):
            yield line
        if len(rest) > _LONGEST:
            raise ClusterError(f"watch of {kind.plural}: an event of more than {_LONGEST} bytes", status=0)


async def _within(reading: Any, kind: SourceKind) -> bytes:
    try:
        return bytes(await reading)
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ClusterError(f"GET of {kind.plural}: {type(error).__name__} {error}", status=0) from error


def _source(kind: SourceKind, item: Mapping[str, Any]) -> Source:
    return Source(kind, item["metadata"]["namespace"], item["metadata"]["name"])


def _version(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["resourceVersion"])
