"""Leadership by a Kubernetes Lease, on a real API server, through everything that can happen to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from piko.clock import Clock, SystemClock
from piko.leadership.candidacy import Standing
from piko.leadership.elector import Elector, leadership
from piko.leadership.kubernetes_lease import KubernetesLease
from piko.model.fences import Fence
from piko.observability.metrics import Metrics
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.leases import LeaseStore
from piko.store.schema.migrate import upgrade
from tests.harness.control_plane import ControlPlane
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.leadership.api_proxy import ApiProxy
from tests.leadership.clocks import WrongClock
from tests.store.cutting import cuttable
from tests.store.making import LEASE, make_instance, opened

LEASE_S = 3.0
RETRY_S = 0.5


class Candidates:
    """Electors of one Lease, each as a task."""

    def __init__(self, *, namespace: str, monkeypatch: pytest.MonkeyPatch, stack: AsyncExitStack) -> None:
        self.namespace = namespace
        self._monkeypatch = monkeypatch
        self._stack = stack
        self._tasks: dict[Elector, asyncio.Task[None]] = {}

    def make(
        self,
        database: Database,
        name: str,
        *,
        lease_s: float = LEASE_S,
        retry_s: float = RETRY_S,
        clock: Clock | None = None,
        metrics: Metrics | None = None,
    ) -> Elector:
        clock = clock or SystemClock()
        instance = make_instance(name)
        lease = KubernetesLease(
            rows=LeaseStore(database=database),
            name=LEASE,
            instance=instance,
            clock=clock,
            lease_s=lease_s,
            renew_interval_s=retry_s,
            namespace=self.namespace,
        )
        return Elector(
            lease=lease, lease_name=LEASE, instance=instance, clock=clock, metrics=metrics or Metrics()
        )

    async def start(
        self, database: Database, name: str, *, proxy: ApiProxy | None = None, **values: Any
    ) -> Elector:
        """Begin, by way of `proxy`; it is connected when this returns."""
        if proxy is not None:
            self._monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig))
        elector = self.make(database, name, **values)
        before = 0 if proxy is None else proxy.requests
        self._tasks[elector] = asyncio.create_task(elector.run())
        self._stack.push_async_callback(self.vanish, elector)
        if proxy is not None:
            await wait_until_async(lambda: proxy.requests > before, what="a first look")
        return elector

    async def stop(self, elector: Elector) -> None:
        await self._end(elector)
        await elector.release()

    async def vanish(self, elector: Elector) -> None:
        await self._end(elector)
        await elector.close()

    async def vanish_all(self) -> None:
        for elector in self._tasks:
            await self.vanish(elector)

    async def _end(self, elector: Elector) -> None:
        task = self._tasks[elector]
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled(), f"the elector ended by itself: {task.exception()!r}"


@pytest.fixture
def way(control_plane: ControlPlane, tmp_path: Path) -> Callable[[str], ApiProxy]:
    def make(name: str) -> ApiProxy:
        folder = tmp_path / name
        folder.mkdir()
        return ApiProxy(control_plane, folder)

    return make


@pytest.fixture
async def proxy(way: Callable[[str], ApiProxy]) -> AsyncIterator[ApiProxy]:
    async with way("proxy").serving() as serving:
        yield serving


@pytest.fixture
async def candidates(
    namespace: str, proxy: ApiProxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Candidates]:
    monkeypatch.setenv("KUBECONFIG", str(proxy.kubeconfig))
    async with AsyncExitStack() as stack:
        yield Candidates(namespace=namespace, monkeypatch=monkeypatch, stack=stack)


@pytest.fixture
async def database(mariadb: TestDatabase, candidates: Candidates) -> AsyncIterator[Database]:
    await upgrade(mariadb.dsn)
    async with opened(mariadb) as made:
        yield made
        await candidates.vanish_all()


async def until_acting(elector: Elector) -> Fence:
    async with asyncio.timeout(PATIENCE_S):
        return await leadership(elector)


async def until(elector: Elector, standing: Standing) -> None:
    await wait_until_async(lambda: elector.standing is standing, what=f"{standing}", interval=0.01)


async def only_then_acts(second: Elector, *, after: Elector) -> Fence:
    def acting() -> Fence | None:
        assert after.acting is None or second.acting is None, "two act at once"
        return second.acting

    fence = await wait_until_async(acting, what="the other to take over", interval=0.005)
    assert fence is not None
    return fence


def lease_spec(control_plane: ControlPlane, namespace: str) -> dict[str, Any]:
    answer = control_plane.kubectl("-n", namespace, "get", "lease", "piko-default", "-o", "json")
    spec: dict[str, Any] = json.loads(answer.stdout)["spec"]
    return spec


async def test_one_leads_renews_and_hands_over_at_once(
    candidates: Candidates, database: Database, control_plane: ControlPlane
) -> None:
    long_lease_s = 10 * PATIENCE_S  # nobody takes over because it has expired
    one = await candidates.start(database, "one", lease_s=long_lease_s)
    assert await until_acting(one) == Fence(name=LEASE, epoch=1)
    first = lease_spec(control_plane, candidates.namespace)
    assert (first["holderIdentity"], first["leaseDurationSeconds"]) == ("one", long_lease_s)
    two = await candidates.start(database, "two", lease_s=long_lease_s)

    def renewed() -> bool:
        assert one.acting is not None
        assert two.acting is None
        return bool(lease_spec(control_plane, candidates.namespace)["renewTime"] != first["renewTime"])

    await wait_until_async(renewed, what="a renewal", interval=0.3)
    assert lease_spec(control_plane, candidates.namespace)["acquireTime"] == first["acquireTime"]
    await candidates.stop(one)
    assert (await until_acting(two)).epoch == 2
    assert lease_spec(control_plane, candidates.namespace)["leaseTransitions"] == 1


async def test_the_lease_of_a_holder_presumed_dead_is_taken_before_it_expires(
    candidates: Candidates, database: Database, control_plane: ControlPlane
) -> None:
    long_lease_s = 10 * PATIENCE_S
    one = await candidates.start(database, "one", lease_s=long_lease_s)
    await until_acting(one)
    await candidates.vanish(one)
    row = await LeaseStore(database=database).read(LEASE)
    assert row is not None
    assert row.renewed_at is not None
    lease = candidates.make(database, "two", lease_s=long_lease_s)._lease
    try:
        assert await lease.acquire(force=False, dead={"three": row.renewed_at}) is None, "another is dead"
        before = row.renewed_at - timedelta(microseconds=1)
        assert await lease.acquire(force=False, dead={"one": before}) is None, "it has renewed since"
        assert await lease.acquire(force=False, dead={"one": row.renewed_at}) == 2
    finally:
        await lease.close()
    spec = lease_spec(control_plane, candidates.namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("two", 1)


async def test_a_clean_release_leaves_the_runs_alone_and_a_takeover_fences_them(
    candidates: Candidates, database: Database, mariadb: TestDatabase
) -> None:
    for name in ("one", "two"):
        await InstanceStore(database=database).beat(make_instance(name))
    one = await candidates.start(database, "one")
    await until_acting(one)
    await candidates.stop(one)
    two = await candidates.start(database, "two")
    await until_acting(two)
    await candidates.vanish(two)
    three = await candidates.start(database, "three")
    assert await only_then_acts(three, after=two) == Fence(name=LEASE, epoch=3)
    rows = await mariadb.execute("SELECT instance_id, fenced_epoch FROM runtime_instance ORDER BY 1")
    assert [tuple(row) for row in rows] == [("one", None), ("two", 2)]


@pytest.mark.parametrize("trouble", ["closed", "slow", 500, 429, 403, 409, "409 to writes"])
async def test_without_the_api_leadership_ends_at_its_deadline_and_resumes_where_nobody_took_over(
    trouble: str | int, candidates: Candidates, database: Database, proxy: ApiProxy
) -> None:
    one = await candidates.start(database, "one")
    fence = await until_acting(one)
    if trouble == "closed":
        proxy.closed = True
    elif trouble == "slow":
        proxy.delay_s = 60
    else:
        proxy.status, proxy.writes_only = int(str(trouble)[:3]), "writes" in str(trouble)
    await until(one, Standing.SUSPENDED)
    assert one.acting is None
    assert one.fence == fence
    proxy.closed, proxy.delay_s, proxy.status = False, 0.0, None
    assert await until_acting(one) == fence, "nobody took over: it goes on under its epoch"


async def test_a_slow_api_is_no_reason_to_end(
    candidates: Candidates, database: Database, proxy: ApiProxy
) -> None:
    one = await candidates.start(database, "one", lease_s=20)
    fence = await until_acting(one)
    proxy.delay_s = 1.0
    before = proxy.requests
    while proxy.requests < before + 6:
        assert one.acting == fence
        await asyncio.sleep(0.02)


async def test_who_alone_is_cut_off_from_the_api_is_followed_and_never_do_two_act(
    candidates: Candidates, database: Database, proxy: ApiProxy, way: Callable[[str], ApiProxy]
) -> None:
    async with way("another").serving() as another:
        one = await candidates.start(database, "one", proxy=proxy)
        await until_acting(one)
        two = await candidates.start(database, "two", proxy=another)
        proxy.closed = True
        assert await only_then_acts(two, after=one) == Fence(name=LEASE, epoch=2)
        proxy.closed = False
        await until(one, Standing.FOLLOWER)
        await candidates.vanish_all()


async def test_a_follower_that_cannot_see_the_lease_says_that_it_could_not_take_over(
    candidates: Candidates, database: Database, way: Callable[[str], ApiProxy], proxy: ApiProxy
) -> None:
    async with way("another").serving() as another:
        lease_s = 10.0  # longer than a busy machine lets the one that leads stand still
        one = await candidates.start(database, "one", proxy=proxy, lease_s=lease_s)
        await until_acting(one)
        two = await candidates.start(database, "two", proxy=another, lease_s=lease_s)
        assert (one.trouble, two.trouble) == (None, None)
        another.status = 500

        def reported() -> bool:
            return two.trouble is not None and "it could not take over" in two.trouble

        await wait_until_async(reported, what="the follower to say so")
        assert one.trouble is None
        another.status = None
        await wait_until_async(lambda: two.trouble is None, what="the follower to see it again")
        await candidates.vanish_all()


async def test_who_alone_is_cut_off_from_the_database_is_followed(
    candidates: Candidates, database: Database, mariadb: TestDatabase
) -> None:
    async with cuttable(mariadb) as (cut, beyond), opened(beyond) as far:
        one = await candidates.start(far, "one")
        await until_acting(one)
        two = await candidates.start(database, "two")
        cut.close()
        assert await only_then_acts(two, after=one) == Fence(name=LEASE, epoch=2)
        cut.open()
        await until(one, Standing.FOLLOWER)
        await candidates.vanish_all()


async def test_wrong_clocks_change_nothing(candidates: Candidates, database: Database) -> None:
    lease_s = (
        10.0  # much less than the clocks are off, and more than a busy machine lets a process stand still
    )
    one = await candidates.start(database, "one", clock=WrongClock(timedelta(minutes=10)), lease_s=lease_s)
    await until_acting(one)
    two = await candidates.start(database, "two", clock=WrongClock(timedelta(minutes=-10)), lease_s=lease_s)
    loop = asyncio.get_running_loop()
    until_then = loop.time() + lease_s + 1
    while loop.time() < until_then:
        assert one.acting is not None
        assert two.acting is None
        await asyncio.sleep(0.02)
    await candidates.vanish(one)
    assert await only_then_acts(two, after=one) == Fence(name=LEASE, epoch=2)


async def test_a_replica_that_is_frozen_past_its_lease_acts_no_more(
    candidates: Candidates, database: Database
) -> None:
    one = await candidates.start(database, "one")
    old = await until_acting(one)
    two = await candidates.start(database, "two")
    await candidates._end(one)  # its task stands still, as under SIGSTOP
    new = await until_acting(two)
    assert one.acting is None
    assert old.epoch < new.epoch


async def test_of_a_hundred_that_race_one_leads(
    candidates: Candidates, database: Database, control_plane: ControlPlane
) -> None:
    # One process asks for all of them: each has the time for an answer that a hundred need on a busy machine.
    terms: dict[str, Any] = {"lease_s": 90.0, "retry_s": 20.0}
    electors = [await candidates.start(database, f"racer-{number}", **terms) for number in range(100)]
    epochs: list[int] = []

    def leader(*, after: int) -> Elector | None:
        acting = [each for each in electors if each.acting is not None]
        assert len(acting) <= 1
        found = acting[0] if acting and acting[0].fence and acting[0].fence.epoch > after else None
        if found is not None and found.fence is not None:
            epochs.append(found.fence.epoch)
        return found

    first = await wait_until_async(lambda: leader(after=0), what="a leader", interval=0.01)
    await candidates.stop(first)
    await wait_until_async(lambda: leader(after=epochs[0]), what="the next", interval=0.01)
    assert epochs[1] > epochs[0]
    assert lease_spec(control_plane, candidates.namespace)["leaseTransitions"] >= 1
