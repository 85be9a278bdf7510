"""Which replica of the operator acts: the one that holds a Lease of Kubernetes.

The elector is the runtime's. The operator needs no fence in the database, because each of its writes of a row
is conditional on the version and the owner that it was decided for. So its Lease does not depend on the
database, and an outage of the database can still be reported.
"""

from __future__ import annotations

import os
import socket
import uuid
from importlib.metadata import version

from piko.clock import Clock
from piko.leadership.api_access import own_namespace
from piko.leadership.elector import Elector
from piko.leadership.kubernetes_lease import KubernetesLease
from piko.model.fences import Fence
from piko.model.instances import Instance
from piko.model.leases import LeaseRow
from piko_operator.metrics import OperatorMetrics

_LEASE_S = 10.0
_RENEW_S = 2.0


class _NoRows:
    """Epochs that only this process counts."""

    def __init__(self) -> None:
        self._epoch = 0

    async def read(self, _name: str) -> LeaseRow | None:
        return None

    async def acquire(self, _name: str, *, holder: str, host: str, lease_s: float, force: bool) -> int | None:
        del holder, host, lease_s, force
        self._epoch += 1
        return self._epoch

    async def renew(self, _fence: Fence, *, holder: str, lease_s: float) -> bool:
        del holder, lease_s
        return True

    async def release(self, _name: str, *, holder: str) -> None:
        del holder


def lease_of(name: str, namespace: str | None) -> str:
    """Namespace and name of the Lease, which stand for the operator in the status of what it serves."""
    return f"{namespace or own_namespace()}/piko-{name}"


def elector_of(*, clock: Clock, metrics: OperatorMetrics, name: str, namespace: str | None) -> Elector:
    """The elector of this process, for the Lease `piko-NAME` in `namespace` (None: the pod's)."""
    host = socket.gethostname()
    instance = Instance(
        instance_id=f"{host}-{uuid.uuid4()}",
        app="piko-operator",
        host=host,
        pid=os.getpid(),
        version=version("piko"),
    )
    lease = KubernetesLease(
        rows=_NoRows(),
        name=name,
        instance=instance,
        clock=clock,
        lease_s=_LEASE_S,
        renew_interval_s=_RENEW_S,
        namespace=namespace,
    )
    return Elector(lease=lease, lease_name=name, instance=instance, clock=clock, metrics=metrics)
