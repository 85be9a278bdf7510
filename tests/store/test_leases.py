"""Who leads: the lease row, its epoch, and the fence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from piko.errors import FencedError
from piko.model.fences import Fence
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.leases import LeaseStore
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.store.making import LEASE, lead


async def take(leases: LeaseStore, holder: str, *, lease_s: float = 60, force: bool = False) -> int | None:
    return await leases.acquire(LEASE, holder=holder, host=f"host-{holder}", lease_s=lease_s, force=force)


async def test_of_many_replicas_that_race_exactly_one_gets_the_lease(leases: LeaseStore) -> None:
    epochs = await asyncio.gather(*(take(leases, f"replica-{number}") for number in range(20)))
    assert [epoch for epoch in epochs if epoch is not None] == [1]
    lease = await leases.read(LEASE)
    assert lease is not None
    assert (lease.epoch, lease.holder) == (1, f"replica-{epochs.index(1)}")


async def test_each_change_of_leader_makes_the_epoch_grow_by_one(leases: LeaseStore) -> None:
    epochs = []
    for holder in ("one", "two", "one", "three"):
        epochs.append(await take(leases, holder))
        await leases.release(LEASE, holder=holder)
    assert epochs == [1, 2, 3, 4]


async def test_a_renewal_keeps_the_epoch(leases: LeaseStore) -> None:
    assert await take(leases, "one", lease_s=0.01) == 1
    fence = Fence(name=LEASE, epoch=1)
    assert await leases.renew(fence, holder="one", lease_s=60), "nobody else took it, so it may be resumed"
    lease = await leases.read(LEASE)
    assert lease is not None
    assert (lease.epoch, lease.holder) == (1, "one")
    assert await take(leases, "two") is None


async def test_a_live_lease_cannot_be_taken_and_an_expired_one_can(leases: LeaseStore) -> None:
    await take(leases, "one")
    assert await take(leases, "two") is None
    assert await leases.renew(Fence(name=LEASE, epoch=1), holder="one", lease_s=0.3)
    assert await wait_until_async(lambda: take(leases, "two"), what="the lease to expire") == 2


async def test_a_lease_is_taken_by_force_from_a_living_leader(leases: LeaseStore) -> None:
    await take(leases, "one")
    assert await take(leases, "two", force=True) == 2


async def test_a_deposed_holder_cannot_renew(leases: LeaseStore) -> None:
    await take(leases, "one")
    await take(leases, "two", force=True)
    before = await leases.read(LEASE)
    assert not await leases.renew(Fence(name=LEASE, epoch=1), holder="one", lease_s=60)
    assert await leases.read(LEASE) == before


async def test_a_holder_that_comes_back_after_another_cannot_renew_its_first_term(leases: LeaseStore) -> None:
    for holder in ("one", "two", "one"):
        await take(leases, holder, force=True)
    assert not await leases.renew(Fence(name=LEASE, epoch=1), holder="one", lease_s=60)
    assert await leases.renew(Fence(name=LEASE, epoch=3), holder="one", lease_s=60)


async def test_a_lease_whose_row_was_deleted_is_not_renewed(
    leases: LeaseStore, emptied_database: TestDatabase
) -> None:
    await take(leases, "one")
    await emptied_database.execute("DELETE FROM leader_lease")
    assert not await leases.renew(Fence(name=LEASE, epoch=1), holder="one", lease_s=60)


async def test_a_release_lets_the_next_one_in_at_once(leases: LeaseStore) -> None:
    await take(leases, "one", lease_s=3600)
    await leases.release(LEASE, holder="one")
    assert await take(leases, "two") == 2


async def test_a_release_by_one_who_does_not_hold_it_changes_nothing(leases: LeaseStore) -> None:
    await take(leases, "one")
    before = await leases.read(LEASE)
    await leases.release(LEASE, holder="two")
    assert await leases.read(LEASE) == before


async def test_a_try_that_was_cut_off_and_worked_does_not_lock_its_own_replica_out(
    leases: LeaseStore,
) -> None:
    await take(leases, "one")  # and the answer never came
    assert await take(leases, "two") is None
    assert await take(leases, "one") == 2


async def test_leaderships_of_different_names_do_not_meet(leases: LeaseStore) -> None:
    assert await take(leases, "one") == 1
    assert await leases.acquire("other", holder="two", host="host", lease_s=60) == 1


@pytest.mark.parametrize("epoch", [0, 2])
async def test_a_fence_holds_for_its_own_epoch_only(epoch: int, store: Database) -> None:
    fence = await lead(store)
    async with store.transaction() as connection:
        await hold(connection, fence)
    other = Fence(name=LEASE, epoch=epoch)
    with pytest.raises(FencedError, match=f"is at epoch 1, this replica acts under {epoch}"):
        async with store.transaction() as connection:
            await hold(connection, other)


async def test_a_leadership_that_never_was_is_refused(store: Database) -> None:
    with pytest.raises(FencedError):
        async with store.transaction() as connection:
            await hold(connection, Fence(name=LEASE, epoch=1))


async def test_a_takeover_waits_for_a_write_in_flight_and_every_later_one_is_refused(
    store: Database, leases: LeaseStore
) -> None:
    fence = await lead(store)
    async with store.transaction() as connection:
        await hold(connection, fence)
        takeover = asyncio.create_task(take(leases, "two", force=True))
        _, waiting = await asyncio.wait({takeover}, timeout=0.3)
        assert waiting, "the takeover went past a write that holds the fence"
    assert await takeover == 2
    with pytest.raises(FencedError):
        async with store.transaction() as connection:
            await hold(connection, fence)


async def test_writes_of_one_leader_hold_the_fence_side_by_side(store: Database) -> None:
    if store.is_sqlite:
        pytest.skip("SQLite has one writer at a time")
    fence = await lead(store)
    async with store.transaction() as first, store.transaction() as second, asyncio.timeout(PATIENCE_S):
        await hold(first, fence)
        await hold(second, fence)


async def test_the_lease_of_an_instance_presumed_dead_is_taken_before_it_expires(leases: LeaseStore) -> None:
    await take(leases, "one")
    lease = await leases.read(LEASE)
    assert lease is not None
    assert lease.renewed_at is not None
    fell_at = lease.renewed_at + timedelta(seconds=1)

    async def try_to_take(dead: Mapping[str, datetime]) -> int | None:
        return await leases.acquire(LEASE, holder="two", host="host-two", lease_s=60, dead=dead)

    assert await try_to_take({"three": fell_at}) is None, "another one is dead"
    before = lease.renewed_at - timedelta(microseconds=1)
    assert await try_to_take({"one": before}) is None, "it has renewed since"
    assert await try_to_take({"one": fell_at}) == 2
    assert not await leases.renew(Fence(name=LEASE, epoch=1), holder="one", lease_s=60)
