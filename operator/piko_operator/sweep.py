"""The full comparison on a timer, since the watch is only a hint.

Each sweep lists every resource, has all of them looked at, and removes rows of this cluster whose resource
no longer exists: one that was deleted without its finalizer. Its policy is unknown by then, so that the
default holds, and the row goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko.store.managed import ManagedTable
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.inventory import Inventory
from piko_operator.ownership import release

_RETRY_S = 1.0

log = get_logger(__name__)


class Sweep:
    """Lists, marks, and removes what nobody owns any more."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        inventory: Inventory,
        tables: Mapping[str, ManagedTable[Any]],
        cluster_name: str,
        namespaces: Sequence[str],
        interval_s: float,
    ) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._tables = tables
        self._cluster_name = cluster_name
        self._namespaces = frozenset(namespaces)
        self._interval_s = interval_s
        self.listed = asyncio.Event()
        self.cluster_error: str | None = None

    async def run(self) -> None:
        """Until cancelled; the first sweep is at once."""
        while True:
            try:
                await self.sweep()
            except ClusterError as error:
                if self.cluster_error is None:
                    log.warning("cluster_unavailable", error=str(error))
                self.cluster_error = _remedy(error)
                await asyncio.sleep(min(_RETRY_S, self._interval_s))
            except DatabaseUnavailableError as error:
                log.info("sweep_without_database", error=str(error))
                await asyncio.sleep(self._interval_s)
            else:
                await asyncio.sleep(self._interval_s)

    async def sweep(self) -> None:
        """One full comparison. Raises `ClusterError` and `DatabaseUnavailableError`."""
        for kind in self._tables:
            since = self._inventory.order
            self._inventory.listed(kind, await self._cluster.list(kind), since=since)
        self.cluster_error = None
        self.listed.set()
        for kind, table in self._tables.items():
            await self._remove_orphans(kind, table)

    async def _remove_orphans(self, kind: str, table: ManagedTable[Any]) -> None:
        for job_id, owner in (await table.owners(self._cluster_name)).items():
            parts = owner.split("/")
            if len(parts) != 4 or parts[3] in self._inventory:
                continue
            _, namespace, name, uid = parts
            if self._namespaces and namespace not in self._namespaces:
                continue
            # Another replica may have written the row of a resource that this one has not seen yet.
            if await self._cluster.exists(kind, namespace=namespace, name=name, uid=uid):
                continue
            held = (await table.read([job_id])).get(job_id)
            change = release(owner=owner, job_id=job_id, held=held, deletion_policy="Delete")
            if change is not None:
                results = await table.apply([change])
                log.warning(
                    "orphan_removed",
                    table=table.name,
                    job_id=job_id,
                    owner=owner,
                    outcome=str(results[job_id]),
                )


def _remedy(error: ClusterError) -> str:
    if error.status == 404:
        return f"the custom resource definitions are not installed ({error}); apply the files of crds/"
    if error.status in (401, 403):
        return (
            f"the operator may not list its resources ({error}); "
            "bind its ServiceAccount to the operator's role"
        )
    return f"the Kubernetes API is not available: {error}"
