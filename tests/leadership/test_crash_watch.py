"""Replicas that watch each other's session locks on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from piko.clock import SystemClock
from piko.leadership.crash_watch import CrashWatch
from piko.leadership.failure_detector import FailureDetector
from piko.observability.metrics import Metrics
from piko.store.engine import Database
from piko.store.instances import InstanceStore
from piko.store.schema.migrate import upgrade
from piko.store.session_locks import SessionLockStore
from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.store.cutting import cuttable
from tests.store.making import LEASE, lead, make_instance, opened

GRACE_S = 0.3
PATIENT_S = 20.0
"""A grace in which a living replica takes its lock again on a busy machine, too."""


@dataclass
class Watcher:
    """A crash watch of one instance, and how often it woke others."""

    name: str
    database: Database
    server: TestDatabase
    grace_s: float = GRACE_S
    leads: bool = False
    woken: int = 0
    lost: int = 0
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.detector = FailureDetector(instance_id=self.name, grace_s=self.grace_s)
        self.store = SessionLockStore(
            database=self.database, dsn=self.server.dsn, lease_name=LEASE, idle_s=30, heard_within_s=30
        )
        self.watch = CrashWatch(
            store=self.store,
            detector=self.detector,
            instance=make_instance(self.name),
            leads=lambda: self.leads,
            wake=[self._wake],
            lost=self._lose,
            clock=SystemClock(),
            metrics=self.metrics,
        )

    def _wake(self) -> None:
        self.woken += 1

    def _lose(self) -> None:
        self.lost += 1

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Watcher]:
        await InstanceStore(database=self.database).beat(make_instance(self.name))
        task = asyncio.create_task(self.watch.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()

    async def until_it_has(self, *names: str) -> None:
        """Wait until it has seen these others hold their locks."""
        await wait_until_async(
            lambda: len(self.detector.held) == len(names), what=f"{self.name} to see {names}"
        )

    async def until_dead(self, *names: str) -> None:
        await wait_until_async(
            lambda: set(self.detector.presumed_dead) == set(names), what=f"{names} to be presumed dead"
        )


async def sessions_of(server: TestDatabase) -> Mapping[str, int]:
    rows = await server.execute("SELECT instance_id, session_id FROM session_lock")
    return {row[0]: row[1] for row in rows}


async def until_published(server: TestDatabase, name: str, *, unlike: int = 0) -> int:
    """Wait until `name` has a session, another than `unlike`."""

    async def found() -> int | None:
        session_id = (await sessions_of(server)).get(name)
        return None if session_id == unlike else session_id

    return await wait_until_async(found, what=f"{name} to hold a lock")


@pytest.fixture
def server(emptied_database: TestDatabase) -> TestDatabase:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite has no sessions")
    return emptied_database


@pytest.fixture
async def store(server: TestDatabase) -> AsyncIterator[Database]:
    async with opened(server) as database:
        yield database


async def test_a_standby_and_a_leader_each_learn_that_the_other_ended(
    store: Database, server: TestDatabase
) -> None:
    await lead(store, "leader")
    one, two = Watcher("leader", store, server, leads=True), Watcher("standby", store, server)
    other = Watcher("other", store, server)
    async with two.running():
        async with one.running():
            async with other.running():
                await one.until_it_has("standby", "other")
                await two.until_it_has("leader", "other")
            # Its session ended with the block, and its row still names the lock: it looks like a crash.
            await one.until_dead("other")
            assert one.woken == 1
        await two.until_dead("leader", "other")
        assert two.metrics.registry.get_sample_value("piko_crashes_seen_total") == 2


async def test_a_living_replica_whose_session_is_killed_takes_its_lock_again(
    store: Database, server: TestDatabase
) -> None:
    await lead(store, "leader")
    leader = Watcher("leader", store, server, leads=True)
    standby = Watcher("standby", store, server, grace_s=PATIENT_S)
    async with leader.running(), standby.running():
        await standby.until_it_has("leader")
        before = await until_published(server, "leader")
        woken = standby.woken
        await server.execute(f"KILL {before}")
        await until_published(server, "leader", unlike=before)
        await wait_until_async(lambda: standby.woken > woken, what="the standby to look at the lease")
        await wait_until_async(lambda: not standby.detector.suspects, what="the suspicion to end")
        await standby.until_it_has("leader")
        assert standby.detector.presumed_dead == {}
        assert (leader.lost, standby.lost) == (1, 0)


async def test_a_replaced_lock_ends_the_waits_of_others_and_is_no_crash(
    store: Database, server: TestDatabase
) -> None:
    await lead(store, "leader")
    leader = Watcher("leader", store, server, leads=True)
    standby = Watcher("standby", store, server, grace_s=PATIENT_S)
    async with leader.running(), standby.running():
        await standby.until_it_has("leader")
        session_id = await until_published(server, "leader")
        ((name,),) = await server.execute("SELECT lock_name FROM session_lock WHERE instance_id = 'leader'")
        leader.watch.replace_lock()
        await wait_until_async(lambda: standby.woken > 0, what="the standby to look at the lease")

        async def has_another() -> bool:
            rows = await server.execute("SELECT lock_name FROM session_lock WHERE instance_id = 'leader'")
            return bool(rows[0][0] != name)

        await wait_until_async(has_another, what="another lock")
        assert await until_published(server, "leader") == session_id, "the session is the same"
        await wait_until_async(lambda: not standby.detector.suspects, what="no suspicion")
        assert standby.detector.presumed_dead == {}


async def test_a_lock_that_is_withdrawn_says_nothing_when_its_session_ends(
    store: Database, server: TestDatabase
) -> None:
    async with Watcher("leader", store, server, leads=True).running() as leader:
        async with Watcher("other", store, server).running() as other:
            await leader.until_it_has("other")
            await other.watch.withdraw()
            await wait_until_async(lambda: not leader.detector.held, what="the lock to be left out")
        await leader.until_it_has()
        assert leader.detector.presumed_dead == {}


async def test_a_row_that_somebody_deleted_is_written_again(store: Database, server: TestDatabase) -> None:
    async with Watcher("one", store, server).running():
        session_id = await until_published(server, "one")
        await server.execute("DELETE FROM session_lock")
        assert await until_published(server, "one") == session_id


async def test_a_replica_without_the_right_to_a_further_session_says_so_until_it_has_it(
    own_mariadb: DatabaseServer,
) -> None:
    database = await own_mariadb.create_database()
    await upgrade(database.dsn)
    limit = "ALTER USER CURRENT_USER() WITH MAX_USER_CONNECTIONS "
    async with opened(database) as store:
        one = Watcher("one", store, database)
        await InstanceStore(database=store).beat(make_instance("one"))
        with capture_logs() as logged:

            def refused() -> bool:
                said = [item for item in logged if item["event"] == "session_lock_not_held"]
                return any("max_user_connections" in str(item) for item in said)

            async with store.statements() as connection:  # these two stay, and no other is admitted
                await connection.exec_driver_sql(limit + "1")
                async with one.running():
                    await wait_until_async(refused, what="the log to say that the session is refused")
                    assert (await connection.exec_driver_sql("SELECT * FROM session_lock")).all() == []
                    assert one.metrics.registry.get_sample_value("piko_session_lock_held") == 0
                    errors = {"part": "crash_watch"}
                    assert one.metrics.registry.get_sample_value("piko_db_errors_total", errors)
                    await connection.exec_driver_sql(limit + "0")
                    await until_published(database, "one")
                    await wait_until_async(  # the row is there before its writer knows it
                        lambda: "session_lock_taken" in [item["event"] for item in logged],
                        what="the log to say so",
                    )


async def test_a_replica_that_is_cut_off_for_longer_than_the_grace_is_presumed_dead_until_it_is_back(
    store: Database, server: TestDatabase
) -> None:
    await lead(store, "leader")
    async with cuttable(server) as (way, beyond), opened(beyond) as their_store:
        standby = Watcher("standby", store, server)
        async with standby.running(), Watcher("leader", their_store, beyond, leads=True).running():
            await standby.until_it_has("leader")
            way.close()
            await standby.until_dead("leader")
            way.open()
            await standby.until_dead()
            await standby.until_it_has("leader")


async def test_a_replica_whose_own_session_broke_presumes_nobody_dead(
    store: Database, server: TestDatabase
) -> None:
    """The other ended while its way was cut, too: it has not seen on its new session what that one held."""
    await lead(store, "leader")
    async with cuttable(server) as (way, beyond), opened(beyond) as their_store:
        standby = Watcher("standby", their_store, beyond)
        async with standby.running():
            async with Watcher("leader", their_store, beyond, leads=True).running():
                await standby.until_it_has("leader")
                before = await until_published(server, "standby")
                way.close()
                await wait_until_async(lambda: not standby.detector.held, what="the session to break")
            way.open()
            await until_published(server, "standby", unlike=before)
            await until_published(server, "leader")  # its row still names the lock
            await asyncio.sleep(3 * GRACE_S)
            assert not standby.detector.suspects
            assert standby.detector.presumed_dead == {}
