"""`python -m piko_operator.leftovers`: checks whether the resource definitions may be deleted.

Deleting a definition deletes its resources in the whole cluster, those of other releases too. The chart runs
this before it uninstalls the definitions, while the operator is still running: exit 0 if no resource is left,
1 with the remaining resources and the remedy.
"""

from __future__ import annotations

import asyncio
import sys

from piko.clock import SystemClock
from piko.errors import SettingsError
from piko.text import listed
from piko_operator.api_session import connect
from piko_operator.cluster import Cluster
from piko_operator.cluster_error import ClusterError
from piko_operator.inventory import PLURALS


async def leftovers(cluster: Cluster) -> list[str]:
    """`kind namespace/name` of every resource in the cluster. Raises `ClusterError`."""
    found = []
    for kind in PLURALS:
        try:
            found += [f"{kind} {seen.namespace}/{seen.name}" for seen in (await cluster.list(kind)).found]
        except ClusterError as error:
            if error.status != 404:  # the definition is not installed
                raise
    return found


async def _main() -> int:
    try:
        async with await connect() as session:
            found = await leftovers(Cluster(session=session, clock=SystemClock()))
    except (ClusterError, SettingsError) as error:
        sys.stderr.write(f"the resources cannot be listed, so nothing was uninstalled: {error}\n")
        return 1
    if not found:
        return 0
    sys.stderr.write(
        f"resources remain, so nothing was uninstalled: {listed(found)}. Delete them while the "
        "operator can release them (kubectl delete psch,pjc,pbf --all --all-namespaces) and uninstall again; "
        "or keep the definitions (helm upgrade --reset-then-reuse-values --set crds.keep=true) and uninstall "
        "then\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(asyncio.run(_main()))
