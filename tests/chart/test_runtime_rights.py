"""What the runtime may do, asked of a real API server: hold its one Lease, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml

from piko.clock import SystemClock
from piko.errors import LeaseUnavailableError
from piko.leadership.kubernetes_lease import KubernetesLease
from piko.leadership.record import object_name
from piko.store.engine import Database
from piko.store.leases import LeaseStore
from tests.chart.rendering import EXISTING_SECRET, render
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.store.making import make_instance, opened

pytestmark = pytest.mark.usefixtures("helm")

_RBAC = ("ServiceAccount", "Role", "RoleBinding")


@pytest.fixture
async def database(emptied_database: TestDatabase) -> AsyncIterator[Database]:
    async with opened(emptied_database) as made:
        yield made


@pytest.mark.parametrize(
    "leader_name", ["default", "nightly-2", "Nightly Jobs", "a" * 100, "käse", "-", "x--y", "x." * 40]
)
def test_the_chart_and_the_runtime_call_the_lease_alike(leader_name: str) -> None:
    rendering = render({**EXISTING_SECRET, "runtime": {"leaderName": leader_name}})
    (role,) = (item for item in rendering.all("Role") if item["metadata"]["name"].endswith("-runtime"))
    assert role["rules"][0]["resourceNames"] == [object_name(leader_name)]


async def test_as_its_service_account_the_runtime_takes_renews_and_releases_its_lease_and_no_other(
    control_plane: ControlPlane, namespace: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = [item for item in render(EXISTING_SECRET, namespace=namespace).objects if item["kind"] in _RBAC]
    control_plane.kubectl("apply", "-f", "-", input=yaml.safe_dump_all(objects))
    account = control_plane.service_account_kubeconfig(namespace, "piko-runtime")
    monkeypatch.setenv("KUBECONFIG", str(account))
    user, leases = f"system:serviceaccount:{namespace}:piko-runtime", "leases.coordination.k8s.io"
    control_plane.until_may(user, "create", leases, namespace=namespace)
    control_plane.until_may(user, "update", f"{leases}/{object_name('default')}", namespace=namespace)

    def lease(name: str) -> KubernetesLease:
        return KubernetesLease(
            rows=LeaseStore(database=database),
            name=name,
            instance=make_instance("one"),
            clock=SystemClock(),
            lease_s=15,
            renew_interval_s=2,
            namespace=namespace,
        )

    ours, others = lease("default"), lease("another")
    try:
        epoch = await ours.acquire(force=False)
        assert epoch == 1
        await ours.release()
        assert await ours.acquire(force=False) == 2
        with pytest.raises(LeaseUnavailableError, match="needs get, create and update on leases"):
            await others.acquire(force=False)
    finally:
        await ours.close()
        await others.close()
