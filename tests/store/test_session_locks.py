"""Session locks on real servers: what frees them, who sees that, and what means nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from piko.errors import DatabaseUnavailableError, SessionLockError
from piko.model.session_locks import SessionLock
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.schema.migrate import upgrade
from piko.store.session_locks import LockSession, SessionLockStore
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase, create_database, drop_database
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.store.making import LEASE, lead, make_instance, opened


@pytest.fixture
def server(emptied_database: TestDatabase) -> TestDatabase:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite has no sessions")
    return emptied_database


@pytest.fixture
def locks(store: Database, server: TestDatabase) -> SessionLockStore:
    return locks_of(store, server)


def locks_of(store: Database, server: TestDatabase) -> SessionLockStore:
    return SessionLockStore(database=store, dsn=server.dsn, lease_name=LEASE, idle_s=30, heard_within_s=30)


@asynccontextmanager
async def holding(
    locks: SessionLockStore, store: Database, name: str
) -> AsyncIterator[tuple[LockSession, SessionLock]]:
    """A session of the instance `name`, with the lock that it holds and has published."""
    async with locks.session() as session:
        lock = await session.take()
        await InstanceStore(database=store).beat(make_instance(name))
        await locks.publish(name, lock)
        yield session, lock


async def test_a_look_shows_who_holds_a_lock_and_who_leads(locks: SessionLockStore, store: Database) -> None:
    async with holding(locks, store, "one") as (session, _), holding(locks, store, "two") as (_, theirs):
        await lead(store, "two")
        look = await session.look()
        assert {seen.instance_id: (seen.held, seen.leads) for seen in look.locks} == {
            "one": (True, False), "two": (True, True),
        }  # fmt: skip
        assert look.leader == look.of("two")
        two = look.of("two")
        assert two is not None
        assert two.lock == theirs
        assert two.lock.server == look.server
        assert look.server_since < theirs.taken_at


async def test_the_end_of_a_session_frees_its_lock_and_ends_a_wait_for_it(
    locks: SessionLockStore, store: Database, server: TestDatabase
) -> None:
    async with locks.session() as watching:
        with pytest.raises(DatabaseUnavailableError):
            await _look_after_its_session_was_killed(locks, store, server, watching)
        look = await watching.look()
        assert [(seen.instance_id, seen.held) for seen in look.locks] == [("one", False)]


async def until_free(session: LockSession, lock: SessionLock) -> None:
    """Wait for the lock as often as it takes: each wait is about a second, and the machine may be late."""
    while not await session.wait(lock):
        pass


async def _look_after_its_session_was_killed(
    locks: SessionLockStore, store: Database, server: TestDatabase, watching: LockSession
) -> None:
    async with holding(locks, store, "one") as (session, lock):
        assert not await watching.wait(lock), "it is held"
        waiting = asyncio.create_task(until_free(watching, lock))
        await server.execute(f"KILL {lock.session_id}")
        await asyncio.wait_for(waiting, PATIENCE_S)
        await asyncio.wait_for(asyncio.shield(session.ended), PATIENCE_S)
        await session.look()


async def test_many_that_wait_for_one_lock_all_learn_that_it_is_free(
    locks: SessionLockStore, store: Database
) -> None:
    async with (
        locks.session() as first,
        locks.session() as second,
        locks.session() as third,
        holding(locks, store, "one") as (session, lock),
    ):
        waiting = [asyncio.create_task(until_free(each, lock)) for each in (first, second, third)]
        await session.release(lock)
        await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)


async def test_a_free_lock_that_somebody_else_takes_is_not_held(
    locks: SessionLockStore, store: Database
) -> None:
    async with locks.session() as somebody, holding(locks, store, "one") as (session, lock):
        await session.release(lock)
        assert await somebody.wait(lock)
        await somebody._connection.exec_driver_sql(f"DO GET_LOCK('{lock.name}', 0)")
        look = await session.look()
        assert [seen.held for seen in look.locks] == [False]


async def test_an_instance_that_stopped_withdrew_or_fell_silent_is_left_out(
    locks: SessionLockStore, store: Database, server: TestDatabase
) -> None:
    async with (
        holding(locks, store, "one") as (session, _),
        holding(locks, store, "stopped"),
        holding(locks, store, "withdrawn"),
        holding(locks, store, "silent"),
    ):
        await InstanceStore(database=store).stop(make_instance("stopped"))
        await locks.withdraw("withdrawn")
        await server.execute(
            "UPDATE runtime_instance SET heartbeat_at = heartbeat_at - INTERVAL 31 SECOND "
            "WHERE instance_id = 'silent'"
        )
        assert [seen.instance_id for seen in (await session.look()).locks] == ["one"]


async def test_a_row_that_somebody_wrote_by_hand_hides_no_other(
    locks: SessionLockStore, store: Database, server: TestDatabase
) -> None:
    async with holding(locks, store, "one") as (session, _), holding(locks, store, "poisoned"):
        await server.execute("UPDATE session_lock SET lock_name = '' WHERE instance_id = 'poisoned'")
        assert [(seen.instance_id, seen.held) for seen in (await session.look()).locks] == [("one", True)]


async def test_two_databases_on_one_server_share_no_lock(
    locks: SessionLockStore, server: TestDatabase
) -> None:
    other = await create_database(server.kind, server.dsn)
    try:
        await upgrade(other.dsn)
        async with (
            opened(other) as database,
            locks.session() as one,
            locks_of(database, other).session() as two,
        ):
            ours, theirs = await one.take(), await two.take()
        assert ours.name.split(":")[:2] != theirs.name.split(":")[:2]
        assert max(len(ours.name), len(theirs.name)) <= 64, "a longer name is an error"
        assert ours.server == theirs.server
    finally:
        await drop_database(other)


async def test_a_session_that_is_shared_says_so(locks: SessionLockStore, store: Database) -> None:
    """What answers is another session than the one that connected."""
    async with holding(locks, store, "one") as (session, lock):
        session._session_id = lock.session_id + 1
        with pytest.raises(SessionLockError, match="shares sessions"):
            await session.look()


async def test_a_wait_is_not_cut_short_by_a_limit_on_the_time_of_statements(
    own_mariadb: DatabaseServer,
) -> None:
    database = await own_mariadb.create_database()
    await upgrade(database.dsn)
    async with opened(database) as store:
        locks = locks_of(store, database)
        async with holding(locks, store, "one") as (_, lock):
            # For the sessions to come. What a session asks before it takes the limit off has to be quicker.
            await database.execute("SET GLOBAL max_statement_time = 0.9")
            async with locks.session() as watching:
                assert not await watching.wait(lock)
                assert not await watching.wait(lock)


async def test_the_lock_of_a_machine_that_vanished_falls_when_its_session_times_out(
    store: Database, server: TestDatabase
) -> None:
    quick = SessionLockStore(database=store, dsn=server.dsn, lease_name=LEASE, idle_s=2, heard_within_s=30)
    async with locks_of(store, server).session() as watching, holding(quick, store, "one") as (_, lock):
        await wait_until_async(lambda: watching.wait(lock), what="the idle session to end")


async def test_a_server_that_admits_no_further_session_is_unavailable(own_mariadb: DatabaseServer) -> None:
    database = await own_mariadb.create_database()
    await upgrade(database.dsn)
    async with opened(database) as store:
        await InstanceStore(database=store).beat(make_instance("one"))
        await database.execute("ALTER USER CURRENT_USER() WITH MAX_USER_CONNECTIONS 1")
        async with locks_of(store, database).session():
            with pytest.raises(DatabaseUnavailableError, match="max_user_connections"):
                async with locks_of(store, database).session():
                    pass
