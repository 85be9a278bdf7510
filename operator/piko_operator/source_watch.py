"""Watches the Secrets and ConfigMaps that configs name, by their metadata alone.

Of each kind there is one watch for the cluster, or one for each namespace that is served, and none while no
resource names any. A change marks the resources that name the object. Without the right to watch, a change is
seen by the next sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.observability.logs import get_logger
from piko_operator.cluster_error import ClusterError
from piko_operator.metadata import MetadataFeed
from piko_operator.sources import Source, SourceKind, SourceUsers

_BACKOFF = Backoff(first_s=0.5, longest_s=30.0)
_UNUSED_S = 1.0
"""How often it is looked whether a resource names an object of the kind by now, in seconds."""

log = get_logger(__name__)


class SourceWatch:
    """Marks the resources whose sources change."""

    name = "sources"

    def __init__(
        self,
        *,
        feed: MetadataFeed,
        users: SourceUsers,
        changed: Callable[[Source], None],
        namespaces: Sequence[str],
    ) -> None:
        self._feed = feed
        self._users = users
        self._changed = changed
        self._scopes: Sequence[str | None] = tuple(namespaces) or (None,)
        self._versions: dict[Source, str] = {}
        self._refused: set[tuple[SourceKind, str | None]] = set()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind in SourceKind:
                for scope in self._scopes:
                    group.create_task(self._keep_watching(kind, scope))

    async def _keep_watching(self, kind: SourceKind, scope: str | None) -> None:
        def report(error: Exception) -> None:
            if (kind, scope) not in self._refused:
                log.warning(
                    "sources_not_watched",
                    kind=kind.plural,
                    namespace=scope,
                    error=str(error),
                    remedy="their changes are seen by the next sweep; "
                    "allow the operator's ServiceAccount to list and watch them",
                )
            self._refused.add((kind, scope))

        away = Transient(errors=(ClusterError,), report=report, backoff=_BACKOFF)
        await repeat(lambda: self._watch(kind, scope), pause_s=_UNUSED_S, transient=[away])

    async def _watch(self, kind: SourceKind, scope: str | None) -> None:
        """Compare all that are named, then follow their changes until the server ends it."""
        if next(self._users.used(kind, scope), None) is None:
            return
        for source in [source for source in self._versions if source not in self._users]:
            del self._versions[source]
        versions, since = await self._feed.list(kind, scope)
        self._refused.discard((kind, scope))
        for source in list(self._users.used(kind, scope)):
            self._note(source, versions.get(source))
        async for source, version in self._feed.changes(kind, scope, since=since):
            self._note(source, version)

    def _note(self, source: Source, version: str | None) -> None:
        """Note the version of a source, None if it does not exist."""
        if source not in self._users:
            self._versions.pop(source, None)
        elif self._versions.get(source) != version:
            if version is None:
                self._versions.pop(source, None)
            else:
                self._versions[source] = version
            self._changed(source)
