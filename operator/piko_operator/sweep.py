"""The periodic full comparison, because the watch is only a hint.

Each sweep lists every resource and marks those that differ from what is known, and those whose row holds
content of Secrets or ConfigMaps, which the operator may have no right to watch. Then it looks for rows of
this cluster whose resource no longer exists (`orphans`), once it is certain that the rows belong to this
cluster (`identity`). A namespace that cannot be listed is reported, and leaves the others as they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.errors import DatabaseUnavailableError
from piko.observability.logs import get_logger
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import REPAIR_NAMESPACE, ClusterError
from piko_operator.identity import Identity, IdentityError
from piko_operator.inventory import Inventory
from piko_operator.metrics import OperatorMetrics
from piko_operator.orphans import OrphanCleaner

_AGAIN_S = 1.0
_REMEDY = f"its resources are not followed, and their rows stay as they are; {REPAIR_NAMESPACE}"

log = get_logger(__name__)


class Sweep:
    """Lists and marks all resources, and cleans up orphaned rows."""

    name = "sweep"

    def __init__(
        self,
        *,
        cluster: Cluster,
        identity: Identity,
        inventories: Mapping[str, Inventory],
        metrics: OperatorMetrics,
        orphans: OrphanCleaner,
        interval_s: float,
    ) -> None:
        self._cluster = cluster
        self._identity = identity
        self._inventories = inventories
        self._metrics = metrics
        self._orphans = orphans
        self._interval_s = interval_s
        self.listed = asyncio.Event()
        self.cluster_error: str | None = None
        self.refused: Mapping[str, str] = {}
        """By namespace, why its resources could not be listed."""

    async def run(self) -> None:
        """Sweep until cancelled; the first sweep is immediate."""
        await repeat(
            self.sweep,
            pause_s=self._interval_s,
            transient=[
                Transient(
                    errors=(ClusterError,),
                    report=self._without_cluster,
                    backoff=Backoff.steady(min(_AGAIN_S, self._interval_s)),
                ),
                # Already reported, in the log and by `/readyz`.
                Transient(errors=(IdentityError,), report=lambda _: None),
                Transient(
                    errors=(DatabaseUnavailableError,),
                    report=lambda error: log.info("sweep_without_database", error=str(error)),
                ),
            ],
        )

    async def sweep(self) -> None:
        """Run one full comparison. Raises `ClusterError`, `IdentityError` and `DatabaseUnavailableError`."""
        others: set[str] = set()
        refused: dict[str, str] = {}
        for kind, inventory in self._inventories.items():
            since = inventory.order
            listing = await self._cluster.list(kind, known=inventory.at_version)
            inventory.listed(kind, listing.found, since=since, except_in=listing.refused)
            inventory.compare(*(seen.uid for seen in inventory.all(kind) if seen.names_sources))
            others.update(listing.others)
            refused |= {namespace: str(error) for namespace, error in listing.refused.items()}
        self.cluster_error = None
        self._report(refused)
        self.listed.set()
        await self._identity.compare()
        await self._orphans.look(except_in=refused, others=others)

    def _report(self, refused: Mapping[str, str]) -> None:
        for namespace in refused.keys() - self.refused.keys():
            log.warning("namespace_not_listed", namespace=namespace, error=refused[namespace], remedy=_REMEDY)
        for namespace in self.refused.keys() - refused.keys():
            log.info("namespace_listed_again", namespace=namespace)
        self._metrics.namespaces_refused.set(len(refused))
        self.refused = refused

    def _without_cluster(self, error: Exception) -> None:
        assert isinstance(error, ClusterError)
        if self.cluster_error is None:
            log.warning("cluster_unavailable", error=str(error))
        self.cluster_error = _remedy(error)


def _remedy(error: ClusterError) -> str:
    if error.status == 404:
        return f"the custom resource definitions are not installed ({error}); apply the files of crds/"
    if error.status in (401, 403):
        return (
            f"the operator is not allowed to list its resources ({error}); "
            "bind its ServiceAccount to the operator's role"
        )
    return f"the Kubernetes API is not available: {error}"
