"""The API server as the operator's code calls it, through `kubectl proxy` and with the user's rights."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from piko.cli.at_resource import MANAGER
from piko.cli.kubectl_proxy import SocketConnection
from piko_operator.cluster_error import ClusterError
from piko_operator.nesting import read_answer
from piko_operator.resource_api import JSON_PATCH, MERGE_PATCH, JsonPatch

_AT_ONCE = 8


class ProxiedCluster:
    """A `KubernetesApi`, while the context lasts: a few requests at once, each on a thread."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="api")

    def __enter__(self) -> ProxiedCluster:
        return self

    def __exit__(self, *_: object) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)  # those that wait end with the proxy

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | JsonPatch | None = None,
    ) -> Any:
        """The JSON of the answer. A PATCH with a list is a JSON patch. Raises `ClusterError`."""
        if method == "PATCH":
            query = [*query, ("fieldManager", MANAGER)]
        target = f"{path}?{urlencode(query)}" if query else path
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._answer, method, target, body)

    def _answer(self, method: str, target: str, body: Mapping[str, Any] | JsonPatch | None) -> Any:
        content = MERGE_PATCH if isinstance(body, Mapping) else JSON_PATCH
        connection = SocketConnection(self._socket_path)
        try:
            connection.request(
                method,
                target,
                body=None if body is None else json.dumps(body),
                headers={"Accept": "application/json", "Content-Type": content},
            )
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException) as error:
            raise ClusterError(f"{method} {target}: {type(error).__name__} {error}", status=0) from error
        finally:
            connection.close()
        if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
            raise ClusterError.answered(method, target, status=answer.status, text=text)
        return read_answer(text)
