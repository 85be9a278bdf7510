"""The elector: who acts, and who no longer does, on a real lease and a clock that the test moves."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from piko.clock import SystemClock
from piko.errors import DatabaseUnavailableError
from piko.leadership.candidacy import Standing
from piko.leadership.database_lease import DatabaseLease
from piko.leadership.elector import Elector, leadership
from piko.model.fences import Fence
from piko.observability.metrics import Metrics
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.leases import LeaseStore
from piko.store.schema.migrate import upgrade
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.leadership.clocks import MovableClock, WrongClock
from tests.store.cutting import cuttable
from tests.store.making import LEASE, count, make_instance, opened


class Replicas:
    """Electors of one lease, each running as a task of its own."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._tasks: dict[Elector, asyncio.Task[None]] = {}

    async def start(
        self,
        database: Database,
        name: str,
        *,
        lease_s: float = 60,
        renew_interval_s: float = 0.1,
        **values: Any,
    ) -> Elector:
        instance = make_instance(name)
        lease = DatabaseLease(
            rows=LeaseStore(database=database),
            name=LEASE,
            instance=instance,
            lease_s=lease_s,
            renew_interval_s=renew_interval_s,
        )
        elector = Elector(
            lease=lease,
            lease_name=LEASE,
            instance=instance,
            **{"clock": SystemClock(), "metrics": Metrics(), **values},
        )
        self._tasks[elector] = asyncio.create_task(elector.run())
        self._stack.push_async_callback(self._end, elector)
        return elector

    async def stop(self, elector: Elector) -> None:
        """As a replica that stops in order; where it does not get the row, its lease expires."""
        await self._end(elector)
        with contextlib.suppress(DatabaseUnavailableError):
            await elector.release()

    async def vanish(self, elector: Elector) -> None:
        """As a replica that is killed."""
        await self._end(elector)

    async def vanish_all(self) -> None:
        for elector in self._tasks:
            await self._end(elector)

    async def _end(self, elector: Elector) -> None:
        task = self._tasks[elector]
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled(), f"the elector ended by itself: {task.exception()!r}"


@pytest.fixture
async def replicas() -> AsyncIterator[Replicas]:
    async with AsyncExitStack() as stack:
        yield Replicas(stack)


@pytest.fixture
async def database(emptied_database: TestDatabase, replicas: Replicas) -> AsyncIterator[Database]:
    async with opened(emptied_database) as made:
        yield made
        await replicas.vanish_all()  # before their database: they would connect once more


@asynccontextmanager
async def cut_off(emptied_database: TestDatabase) -> AsyncIterator[Any]:
    """A way to the database for one replica alone, and Piko's engines over it."""
    if emptied_database.kind == "sqlite":
        pytest.skip("there is no way that could be cut")
    async with cuttable(emptied_database) as (way, beyond), opened(beyond) as made:
        yield way, made


async def until(elector: Elector, standing: Standing) -> None:
    await wait_until_async(
        lambda: elector.standing is standing,
        what=f"the elector to be {standing}",
        interval=0.01,
    )


async def until_acting(elector: Elector) -> Fence:
    async with asyncio.timeout(PATIENCE_S):
        return await leadership(elector)


async def only_then_acts(second: Elector, *, after: Elector) -> Fence:
    """Under which fence `second` acts in the end; at no moment do both act."""

    def acting() -> Fence | None:
        assert after.acting is None or second.acting is None, "two act at once"
        return second.acting

    fence = await wait_until_async(acting, what="the other to take over", interval=0.005)
    assert fence is not None
    return fence


def gauge(metrics: Metrics, name: str) -> float | None:
    return metrics.registry.get_sample_value("piko_leader_status", {"host": f"host-{name}"})


# ---- the normal course ----------------------------------------------------------------------------


async def test_a_replica_alone_becomes_leader_and_stays_it(replicas: Replicas, database: Database) -> None:
    metrics = Metrics()
    elector = await replicas.start(database, "one", lease_s=0.6, metrics=metrics)
    assert (elector.standing, elector.acting) == (Standing.FOLLOWER, None)
    fence = await until_acting(elector)
    assert fence == Fence(name=LEASE, epoch=1)
    await wait_until_async(lambda: gauge(metrics, "one") == 1, what="the gauge to say so")
    expiries = set()

    async def renewed() -> bool:
        lease = await LeaseStore(database=database).read(LEASE)
        assert lease is not None
        assert elector.fence == fence, "it is the leader still, though a renewal may come late"
        expiries.add(lease.expires_at)
        return len(expiries) > 6

    await wait_until_async(renewed, what="more renewals than fit into one lease")


async def test_of_three_replicas_one_leads_and_a_stop_hands_over_at_once(
    replicas: Replicas, database: Database
) -> None:
    electors = [await replicas.start(database, name) for name in ("one", "two", "three")]
    epochs = []
    while electors:
        leader = await wait_until_async(
            lambda: next((each for each in electors if each.acting), None), what="a leader"
        )
        assert sum(each.acting is not None for each in electors) == 1
        epochs.append(leader.acting and leader.acting.epoch)
        await replicas.stop(leader)
        assert (leader.standing, leader.acting, leader.fence) == (Standing.FOLLOWER, None, None)
        electors.remove(leader)
    assert epochs == [1, 2, 3]


async def test_a_killed_leader_is_followed_when_its_lease_has_expired_and_not_before(
    replicas: Replicas, database: Database
) -> None:
    first = await replicas.start(database, "one", lease_s=0.6)
    await until_acting(first)
    second = await replicas.start(database, "two")
    await replicas.vanish(first)
    assert await only_then_acts(second, after=first) == Fence(name=LEASE, epoch=2)


async def test_one_that_runs_without_an_election_takes_over_at_once_and_only_once(
    replicas: Replicas, database: Database
) -> None:
    other = await replicas.start(database, "other")
    await until_acting(other)
    one = await replicas.start(database, "one", compete=False)
    assert (await until_acting(one)).epoch == 2
    await until(other, Standing.FOLLOWER)
    two = await replicas.start(database, "two", compete=False)
    assert (await until_acting(two)).epoch == 3
    await until(one, Standing.FOLLOWER)
    await replicas.stop(two)
    winner = await wait_until_async(
        lambda: next((each for each in (one, other) if each.acting), None), what="the next leader"
    )
    assert winner.fence is not None
    assert winner.fence.epoch == 4, "nobody deposed anybody meanwhile"


async def test_wrong_clocks_change_nothing(replicas: Replicas, database: Database) -> None:
    lease_s = (
        8.0  # much less than the clocks are off, and more than a busy machine lets a process stand still
    )
    one = await replicas.start(database, "one", lease_s=lease_s, clock=WrongClock(timedelta(minutes=10)))
    await until_acting(one)
    two = await replicas.start(database, "two", lease_s=lease_s, clock=WrongClock(timedelta(minutes=-10)))
    seen = set()

    async def renewed() -> bool:
        assert two.acting is None
        lease = await LeaseStore(database=database).read(LEASE)
        assert lease is not None
        assert lease.epoch == 1
        seen.add(lease.expires_at)
        return len(seen) > 25

    await wait_until_async(renewed, what="many renewals")
    await replicas.vanish(one)
    assert await only_then_acts(two, after=one) == Fence(name=LEASE, epoch=2)


@pytest.fixture
async def wide_database(emptied_database: TestDatabase, replicas: Replicas) -> AsyncIterator[Database]:
    """A connection for each of a hundred."""
    async with opened(emptied_database, pool_size=50) as made:
        yield made
        await replicas.vanish_all()


async def test_of_a_hundred_that_race_one_leads(replicas: Replicas, wide_database: Database) -> None:
    electors = [
        await replicas.start(wide_database, f"racer-{number}", renew_interval_s=5) for number in range(100)
    ]

    def leader() -> Elector | None:
        acting = [each for each in electors if each.acting is not None]
        assert len(acting) <= 1, "several act"
        return acting[0] if acting else None

    first = await wait_until_async(leader, what="a leader", interval=0.005)
    assert first.acting == Fence(name=LEASE, epoch=1)
    await replicas.stop(first)
    electors.remove(first)
    second = await wait_until_async(leader, what="the next", interval=0.005)
    assert second.acting == Fence(name=LEASE, epoch=2)


# ---- the deadline ---------------------------------------------------------------------------------


async def test_nobody_acts_beyond_the_deadline_even_if_nobody_noticed(
    replicas: Replicas, database: Database
) -> None:
    clock = MovableClock()
    elector = await replicas.start(database, "one", clock=clock, renew_interval_s=0.3)
    fence = await until_acting(elector)
    clock.ahead_s += 60  # a process that was stopped, or an event loop that was blocked
    assert elector.acting is None
    assert elector.standing is Standing.LEADER, "it has not been reported yet"
    assert await until_acting(elector) == fence, "nobody took over, so the next renewal resumes it"


async def test_a_leader_that_slept_while_another_took_over_never_acts_again(
    replicas: Replicas, database: Database
) -> None:
    clock = MovableClock()
    elector = await replicas.start(database, "one", clock=clock, renew_interval_s=0.3)
    await until_acting(elector)
    clock.ahead_s += 60
    await LeaseStore(database=database).acquire(LEASE, holder="two", host="two", lease_s=60, force=True)
    await until(elector, Standing.FOLLOWER)
    assert elector.acting is None
    assert elector.fence is None


async def test_a_refusal_by_the_fence_ends_leadership_whatever_the_last_renewal_said(
    replicas: Replicas, database: Database
) -> None:
    elector = await replicas.start(database, "one")
    fence = await until_acting(elector)
    elector.deposed(Fence(name=LEASE, epoch=fence.epoch - 1))
    assert elector.acting == fence, "an old term's refusal says nothing about this one"
    elector.deposed(fence)
    deposed: tuple[Fence | None, Standing] = (elector.acting, elector.standing)
    assert deposed == (None, Standing.FOLLOWER)
    assert (await until_acting(elector)).epoch == fence.epoch + 1


async def test_a_change_of_standing_wakes_who_waits_for_it(replicas: Replicas, database: Database) -> None:
    elector = await replicas.start(database, "one")
    async with asyncio.timeout(PATIENCE_S):
        await elector.wait_for_change()
    assert elector.standing is Standing.LEADER


# ---- the database goes away -----------------------------------------------------------------------


async def test_a_leader_alone_cut_off_is_suspended_at_its_deadline_and_resumes_where_nobody_took_over(
    replicas: Replicas, emptied_database: TestDatabase
) -> None:
    async with cut_off(emptied_database) as (way, beyond):
        metrics = Metrics()
        elector = await replicas.start(beyond, "one", lease_s=0.8, metrics=metrics)
        fence = await until_acting(elector)
        way.close()
        await until(elector, Standing.SUSPENDED)
        assert elector.acting is None
        assert elector.fence == fence, "its handlers go on, and what they leave may still be written"
        assert gauge(metrics, "one") == 0
        way.open()
        assert await until_acting(elector) == fence
        await wait_until_async(lambda: gauge(metrics, "one") == 1, what="the gauge to say so")
        assert await count(emptied_database, "leader_lease", "epoch = 1") == 1
        await replicas.vanish(elector)


async def test_a_leader_alone_cut_off_is_deposed_where_another_took_over_and_never_do_two_act(
    replicas: Replicas, database: Database, emptied_database: TestDatabase
) -> None:
    async with cut_off(emptied_database) as (way, beyond):
        first = await replicas.start(beyond, "one", lease_s=5)
        await until_acting(first)
        second = await replicas.start(database, "two", lease_s=60)
        way.close()

        await only_then_acts(second, after=first)
        await until(first, Standing.SUSPENDED)
        way.open()
        await until(first, Standing.FOLLOWER)
        assert first.fence is None
        assert second.acting == Fence(name=LEASE, epoch=2)
        await replicas.vanish(first)


async def test_a_leader_whose_session_broke_is_in_trouble_until_it_has_renewed(
    replicas: Replicas, emptied_database: TestDatabase
) -> None:
    """The others may have taken over, by the session lock that fell, long before its lease expires."""
    async with cut_off(emptied_database) as (way, beyond):
        elector = await replicas.start(beyond, "one", lease_s=7_200, renew_interval_s=3_600)
        fence = await until_acting(elector)
        assert elector.trouble is None
        way.close()
        elector.doubt()
        assert elector.trouble is not None
        assert "the lease has not been renewed since" in elector.trouble
        assert elector.acting == fence, "a session that breaks is no proof; the fence protects the data"
        way.open()
        await wait_until_async(lambda: elector.trouble is None, what="a renewal")
        assert elector.acting == fence
        await replicas.vanish(elector)


async def test_a_follower_that_meets_a_lost_database_goes_on_when_it_returns(
    replicas: Replicas, emptied_database: TestDatabase
) -> None:
    async with cut_off(emptied_database) as (way, beyond):
        way.close()
        metrics = Metrics()
        elector = await replicas.start(beyond, "one", metrics=metrics)

        def failed() -> bool:
            return bool(metrics.registry.get_sample_value("piko_db_errors_total", {"part": "elector"}))

        await wait_until_async(failed, what="the elector to meet a database that is away")
        assert elector.standing is Standing.FOLLOWER
        way.open()
        await until_acting(elector)
        await replicas.vanish(elector)


async def test_leadership_that_was_won_unheard_is_found_and_released(
    replicas: Replicas, database: Database, emptied_database: TestDatabase
) -> None:
    async with cut_off(emptied_database) as (way, beyond):
        async with beyond.transaction(), beyond.statements():
            pass  # connections are there, and what they commit at their own start is through
        way.cut_next_commit()
        elector = await replicas.start(beyond, "one", lease_s=3600, renew_interval_s=30)
        await wait_until_async(lambda: way.cuts, what="the COMMIT to be cut", interval=0.01)
        await replicas.vanish(elector)  # before it tries again, and then knows
        assert await count(emptied_database, "leader_lease", "holder = 'one'") == 1
        assert elector.fence is None
        await replicas.stop(elector)  # it does not know that it leads, and gives it up all the same
    assert (await until_acting(await replicas.start(database, "two"))).epoch == 2


async def test_a_server_that_hangs_and_one_that_stops_suspend_the_leader_who_then_resumes(
    replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    test_database = await own_mariadb.create_database()
    await upgrade(test_database.dsn)
    async with opened(test_database) as database:
        elector = await replicas.start(database, "one", lease_s=1.0)
        fence = await until_acting(elector)
        own_mariadb.pause()
        await until(elector, Standing.SUSPENDED)
        assert elector.acting is None
        own_mariadb.resume()
        assert await until_acting(elector) == fence
        own_mariadb.stop()
        await until(elector, Standing.SUSPENDED)
        own_mariadb.start()
        assert await until_acting(elector) == fence
        await replicas.vanish(elector)


@pytest.mark.parametrize("seed", range(2))
async def test_through_cuts_at_random_never_two_act_and_epochs_only_grow(
    seed: int, replicas: Replicas, mariadb: TestDatabase
) -> None:
    """A law: whatever is cut when, at each moment at most one acts, and under an epoch not seen before it."""
    await upgrade(mariadb.dsn)
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        ways, electors = [], []
        for name in ("one", "two", "three"):
            way, beyond = await stack.enter_async_context(cuttable(mariadb))
            database = await stack.enter_async_context(opened(beyond))
            ways.append(way)
            electors.append(await replicas.start(database, name, lease_s=0.3, renew_interval_s=0.05))
        epochs: list[int] = []

        def next_leader() -> Elector | None:
            acting = [each for each in electors if each.acting is not None]
            assert len(acting) <= 1, "two act at once"
            for each in acting:
                if each.fence is not None and each.fence.epoch not in epochs[-1:]:
                    epochs.append(each.fence.epoch)
                    return each
            return None

        for _ in range(5):
            leader = await wait_until_async(next_leader, what="a new leader", interval=0.002)
            place = electors.index(leader)
            for way in ways:
                (way.close if chance.random() < 0.5 else way.open)()
            ways[place].close()
            ways[(place + chance.choice((1, 2))) % 3].open()
        assert epochs == sorted(set(epochs))
        for elector in electors:
            await replicas.vanish(elector)


async def test_a_leader_that_vanishes_within_a_transaction_does_not_keep_its_lease_for_ever(
    replicas: Replicas, database: Database, emptied_database: TestDatabase
) -> None:
    """Its connection hangs, and the server holds its locks until it gives the transaction up."""
    async with cut_off(emptied_database) as (way, beyond):
        first = await replicas.start(beyond, "one", lease_s=3)
        fence = await until_acting(first)
        async with beyond.engine.connect() as connection:
            await hold(connection, fence)
            way.swallow(questions=True, answers=True)
            await replicas.vanish(first)
            second = await replicas.start(database, "two", lease_s=3)
            async with asyncio.timeout(PATIENCE_S):
                assert (await leadership(second)).epoch == 2
            way.close()
            await connection.invalidate()
        await replicas.vanish_all()


# ---- the database's own absence -------------------------------------------------------------------


async def test_a_lease_that_expired_while_nobody_could_renew_it_stays_its_holders(
    replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    test_database = await own_mariadb.create_database()
    await upgrade(test_database.dsn)
    # The follower leaves the lease alone for the time of one renewal: long enough for a busy machine.
    terms: dict[str, Any] = {"lease_s": 6, "renew_interval_s": 2.5}
    async with opened(test_database) as one, opened(test_database) as two:
        leader = await replicas.start(one, "one", **terms)
        fence = await until_acting(leader)
        follower = await replicas.start(two, "two", **terms)
        await wait_until_async(lambda: follower.has_looked, what="the follower to have looked")
        own_mariadb.kill()
        await until(leader, Standing.SUSPENDED)
        await asyncio.sleep(terms["lease_s"])
        await asyncio.to_thread(own_mariadb.start)
        assert await until_acting(leader) == fence, "it was no silence of its own"
        assert follower.standing is Standing.FOLLOWER

        own_mariadb.kill()  # and where the leader does end meanwhile, the other follows
        await until(leader, Standing.SUSPENDED)
        await replicas.vanish(leader)
        await asyncio.to_thread(own_mariadb.start)
        assert (await until_acting(follower)).epoch == fence.epoch + 1
        await replicas.vanish_all()
