"""Reads the Secrets and ConfigMaps that configs name: one request for all who want the same at a time.

What was read is shared for a moment only. It is never older than that, and no content of a Secret stays in
memory for longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from piko_operator.cluster import Cluster
from piko_operator.sources import Source

_SHARED_S = 1.0
"""Seconds that an answer is shared: a sweep of thousands of resources asks for each source about once."""


class SourceReader:
    """Reads sources. For use on one event loop."""

    def __init__(self, *, cluster: Cluster) -> None:
        self._cluster = cluster
        self._reads: dict[Source, asyncio.Task[Mapping[str, bytes]]] = {}

    async def read(self, source: Source) -> Mapping[str, bytes]:
        """The content of `source` by key. Raises `ClusterError`."""
        task = self._reads.get(source)
        if task is None:
            task = self._reads[source] = asyncio.create_task(self._cluster.content(source))
            task.add_done_callback(lambda done: self._drop_soon(source, done))
        return await asyncio.shield(task)

    def changed(self, source: Source) -> None:
        """Share no more what was asked for before now."""
        self._reads.pop(source, None)

    def close(self) -> None:
        """Cancel what is being read."""
        reads, self._reads = self._reads, {}
        for task in reads.values():
            task.cancel()

    def _drop_soon(self, source: Source, done: asyncio.Task[Mapping[str, bytes]]) -> None:
        if not done.cancelled():
            done.exception()  # those that waited have it, and nobody else needs it
        if self._reads.get(source) is done:
            done.get_loop().call_later(_SHARED_S, self._drop, source, done)

    def _drop(self, source: Source, done: asyncio.Task[Mapping[str, bytes]]) -> None:
        if self._reads.get(source) is done:
            del self._reads[source]
