"""Two replicas and one database: one of them acts, and each due time runs once."""

from __future__ import annotations

import signal
from itertools import pairwise

import pytest

from tests.harness.database_servers import DatabaseServer
from tests.harness.databases import TestDatabase, migrate
from tests.harness.waiting import wait_until_async
from tests.runtime.replicas import (
    Replicas,
    begun_runs,
    leader_of,
    runs,
    schedule,
    times_run_twice,
    until_runs,
)

# No test waits until it expires: who takes over all the same has been handed the lease.
SLOW_LEASE = {"PIKO_LEADER_LEASE_S": "3600", "PIKO_LEADER_RENEW_INTERVAL_S": "10"}


async def test_only_the_leader_runs_and_when_it_is_killed_the_other_goes_on(
    replicas: Replicas, migrated_database: TestDatabase
) -> None:
    database = migrated_database
    await schedule(database, "quick")
    pair = [replicas.start(database.dsn, name=name) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    await until_runs(database, "quick", 3)
    assert '"event": "quick ' in leader.process.output
    assert '"event": "quick ' not in standby.process.output
    assert 'piko_leader_status{host="' in standby.get("/metrics")[1]
    leader.process.kill()
    await standby.until_ready("leader")
    before = len(await runs(database, "quick", "SUCCESS"))
    done = await until_runs(database, "quick", before + 3)
    assert times_run_twice(done) == []
    # The instants of the change of leader are late but within grace: run, coalesced or lost, never forgotten.
    epochs = await database.execute(
        "SELECT DISTINCT epoch FROM job_run WHERE job_id = 'quick' AND state = 'SUCCESS'"
    )
    assert sorted(row[0] for row in epochs) == [1, 2]


async def test_a_clean_stop_hands_over_without_waiting_for_the_lease_to_expire(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    mariadb = migrated_mariadb
    await schedule(mariadb, "quick")
    pair = [replicas.start(mariadb.dsn, name=name, environment=SLOW_LEASE) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    assert leader.process.terminate() == 0
    await standby.until_ready("leader")
    before = len(await runs(mariadb, "quick", "SUCCESS"))
    await until_runs(mariadb, "quick", before + 2)


async def test_a_run_of_a_killed_replica_is_lost_and_runs_again_where_attempts_are_left(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    pair = [
        replicas.start(database.dsn, name=name, environment={"SLOW_S": "3600" if name == "one" else "0"})
        for name in ("one", "two")
    ]
    first, second = pair
    # The first leads, however they came up: the other is stopped until the first has begun a run.
    leader, _ = await leader_of(*pair)
    if leader is second:
        second.process.terminate()
        await first.until_ready("leader")
        second = replicas.start(database.dsn, name="two again", environment={"SLOW_S": "0"})
        await second.until_ready("standby")
    await schedule(database, "slow", '{"seconds": 1}', max_attempts=2, overlap_policy="skip")
    first.process.wait_for_line("slow begins 1")
    first.process.kill()
    second.process.wait_for_line("slow begins 2")
    lost = await until_runs(database, "slow", 1, state="LOST")
    scheduled_time = lost[0][0]

    async def again() -> bool:
        return (scheduled_time, "SUCCESS", 2) in await runs(database, "slow")

    await wait_until_async(again, what="the second attempt at the lost due time")


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_a_database_that_goes_away_costs_no_due_time_and_none_runs_twice(
    how: str, replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    database = await migrate(await own_mariadb.create_database())
    await schedule(database, "quick", coalesce=0)
    await schedule(database, "windows")
    replica = replicas.start(database.dsn)
    await until_runs(database, "quick", 2)
    if how == "kill":
        own_mariadb.kill()
        await replica.until("/readyz", 503, "rows not read since")
        assert replica.get("/healthz") == (200, "ok\n")
        own_mariadb.start()
    else:
        own_mariadb.pause()
        await replica.until("/readyz", 503, "")
        own_mariadb.resume()
    await replica.until_ready()
    before = len(await runs(database, "quick", "SUCCESS"))
    done = await until_runs(database, "quick", before + 3)
    assert times_run_twice(done) == []
    spans = await database.execute(
        "SELECT DISTINCT scheduled_time, COALESCE(missed_through, scheduled_time) "
        "FROM job_run WHERE job_id = 'quick' ORDER BY scheduled_time"
    )
    gaps = [(following[0] - span[1]).total_seconds() for span, following in pairwise(spans)]
    assert set(gaps) == {1.0}, "with coalesce off, each second has its run, or is recorded"
    windows = [row[0] for row in await runs(database, "windows", "SUCCESS")]
    assert len(windows) == len(set(windows))
    assert len(await runs(database, "windows", "RUNNING")) <= 1


async def test_a_stop_hands_over_at_once_and_the_run_in_progress_still_ends_where_it_began(
    replicas: Replicas, migrated_mariadb: TestDatabase
) -> None:
    database = migrated_mariadb
    environment = {**SLOW_LEASE, "PIKO_DRAIN_TIMEOUT_S": "600", "SLOW_UNTIL": "set free"}
    pair = [replicas.start(database.dsn, name=name, environment=environment) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    await schedule(database, "slow", '{"seconds": 1}', max_attempts=1)
    leader.process.wait_for_line("slow begins")
    await schedule(database, "quick")
    leader.process.wait_for_line("quick")
    leader.process.signal(signal.SIGTERM)
    await standby.until_ready("leader")
    standby.process.wait_for_line("quick")
    assert "slow ends" not in leader.process.output, "the other leads while this one drains"
    (replicas.folder / "set free").touch()
    assert leader.process.wait() == 0
    assert "slow ends" in leader.process.output
    (first, *_) = await begun_runs(database, "slow")
    assert first[1:] == ("SUCCESS", 1)
    await until_runs(database, "slow", 3)
    # Of ended runs alone: while one's end is on its way to the database, the next may be claimed ahead.
    ended = await database.execute(
        "SELECT started_at, finished_at FROM job_run "
        "WHERE job_id = 'slow' AND state = 'SUCCESS' ORDER BY started_at"
    )
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(ended)), "max_instances = 1 holds"
    assert "slow begins 1" in standby.process.output


async def test_a_database_that_hangs_makes_leader_and_standby_unready_within_seconds(
    replicas: Replicas, own_mariadb: DatabaseServer
) -> None:
    database = await migrate(await own_mariadb.create_database())
    # Nor is one presumed dead that a busy machine lets be slow to take its lock again.
    environment = {**SLOW_LEASE, "PIKO_CRASH_GRACE_S": "60"}
    pair = [replicas.start(database.dsn, name=name, environment=environment) for name in ("one", "two")]
    leader, standby = await leader_of(*pair)
    own_mariadb.pause()
    for replica in pair:
        await replica.until("/readyz", 503, "the database has not answered for")
        assert replica.get("/healthz") == (200, "ok\n")
    own_mariadb.resume()
    await leader.until_ready("leader")
    await standby.until_ready("standby")
