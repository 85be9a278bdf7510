"""Checks that this cluster's name belongs to this cluster.

Rows name their owner by cluster, namespace and name. Two clusters of one name on one database would each find
the other's rows without a resource, and remove them. So the name is bound to the cluster that first used it,
by the uid of its namespace `kube-system`, which every cluster has and no two share. Nothing is written or
removed until both have been compared, nor while they differ.
"""

from __future__ import annotations

from piko.errors import DatabaseUnavailableError, PikoError
from piko.observability.logs import get_logger
from piko.store.clusters import Clusters
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError

log = get_logger(__name__)


class IdentityError(PikoError):
    """The identity is unknown, or the name belongs to another cluster; `reason` is that of the condition."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Identity:
    """The name of this cluster, and the cluster that it is bound to in the database."""

    def __init__(self, *, cluster: Cluster, clusters: Clusters, name: str) -> None:
        self._cluster = cluster
        self._clusters = clusters
        self._name = name
        self._uid: str | None = None
        self._confirmed = False
        self.trouble: str | None = None
        """Why nothing is written; None if the identity is confirmed."""

    @property
    def confirmed(self) -> bool:
        """Whether the name is known to be this cluster's own."""
        return self._confirmed

    async def confirm(self) -> None:
        """Compare unless already confirmed. Raises the errors of `compare`."""
        if not self._confirmed:
            await self.compare()

    async def compare(self) -> None:
        """Compare both. Raises `IdentityError` or `DatabaseUnavailableError`; then nothing may be written."""
        self._confirmed = False
        try:
            await self._compare()
        except IdentityError as error:
            if str(error) != self.trouble:
                log.error("cluster_not_identified", cluster=self._name, error=str(error))
            self.trouble = str(error)
            raise
        except DatabaseUnavailableError:
            self.trouble = None  # reported by the caller
            raise
        if self.trouble is not None:
            log.info("cluster_identified", cluster=self._name, uid=self._uid)
        self._confirmed, self.trouble = True, None

    async def _compare(self) -> None:
        if self._uid is None:
            self._uid = await self._read_uid()
        bound = await self._clusters.bind(self._name, self._uid)
        if bound != self._uid:
            raise IdentityError(
                f"the cluster name {self._name!r} belongs to another cluster in this database: the uid of "
                f"its kube-system is {bound}, this one's is {self._uid}; nothing is written or removed. Give "
                "this cluster a name of its own (PIKO_OPERATOR_CLUSTER, in the chart operator.cluster); or, "
                "if it replaces that one and takes over its rows, delete that name's row in operator_cluster",
                reason="ClusterNameTaken",
            )

    async def _read_uid(self) -> str:
        try:
            return await self._cluster.uid()
        except ClusterError as error:
            remedy = (
                "allow the operator's ServiceAccount to get namespaces with resourceNames [kube-system], as "
                "the chart does"
                if error.status in (401, 403)
                else "this is retried until it succeeds"
            )
            raise IdentityError(
                f"the cluster's identity, the uid of the namespace kube-system, cannot be read ({error}); "
                f"nothing is written until then; {remedy}",
                reason="ClusterUnidentified",
            ) from None
