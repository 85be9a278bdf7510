"""The full comparison on a timer, since the watch is only a hint.

Each sweep lists every resource, has all of them looked at, and then looks for rows of this cluster whose
resource no longer exists (`orphans`), once it is certain that they are of this cluster (`identity`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko_operator.cluster import Cluster, ClusterError
from piko_operator.identity import Identity, IdentityError
from piko_operator.inventory import Inventory
from piko_operator.orphans import OrphanCleaner

_RETRY_S = 1.0

log = get_logger(__name__)


class Sweep:
    """Lists, marks, and looks for what nobody owns any more."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        identity: Identity,
        inventory: Inventory,
        kinds: Sequence[str],
        orphans: OrphanCleaner,
        interval_s: float,
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._inventory = inventory
        self._kinds = kinds
        self._orphans = orphans
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
            except IdentityError:  # it is told already, in the log and by `/readyz`
                await asyncio.sleep(self._interval_s)
            except DatabaseUnavailableError as error:
                log.info("sweep_without_database", error=str(error))
                await asyncio.sleep(self._interval_s)
            else:
                await asyncio.sleep(self._interval_s)

    async def sweep(self) -> None:
        """One full comparison. Raises `ClusterError`, `IdentityError` and `DatabaseUnavailableError`."""
        for kind in self._kinds:
            since = self._inventory.order
            self._inventory.listed(kind, await self._cluster.list(kind), since=since)
        self.cluster_error = None
        self.listed.set()
        await self._identity.compare()
        await self._orphans.look()


def _remedy(error: ClusterError) -> str:
    if error.status == 404:
        return f"the custom resource definitions are not installed ({error}); apply the files of crds/"
    if error.status in (401, 403):
        return (
            f"the operator may not list its resources ({error}); "
            "bind its ServiceAccount to the operator's role"
        )
    return f"the Kubernetes API is not available: {error}"
