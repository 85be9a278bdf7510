"""The database ends, is not there, is slow, or is out of reach for one: every due time is accounted for."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest
from sqlalchemy.exc import DBAPIError

from tests.failures.two_replicas import (
    BOTH_EXECUTORS,
    DEFAULTS,
    LONG_LEASE,
    STEADY_LEASE,
    TwoReplicas,
    answers_of,
    epoch_of,
    liveness,
    more_starts,
    roles,
    until_follows,
    until_leads,
    until_misses_the_database,
)
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.soak.stage import Stage

both_executors = pytest.mark.parametrize("executor", BOTH_EXECUTORS)


@both_executors
async def test_the_database_is_killed_and_started_again(executor: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor) as stage:
        stage.server.kill()
        for replica in stage.replicas:
            await until_misses_the_database(stage, replica)
        await asyncio.to_thread(stage.server.start)
        await roles(stage)
        await more_starts(stage)


async def test_the_database_is_not_there_when_replicas_start(two_replicas: TwoReplicas) -> None:
    async with two_replicas() as stage:
        stage.server.kill()
        for replica in stage.replicas:
            replica.process.kill()
            replica.start()
        for replica in stage.replicas:
            await until_misses_the_database(stage, replica)
        await asyncio.to_thread(stage.server.start)
        await roles(stage)
        await more_starts(stage)


async def test_the_database_takes_half_a_second_for_each_statement(two_replicas: TwoReplicas) -> None:
    async with two_replicas(environment=DEFAULTS) as stage:
        leader, follower = await roles(stage)
        epoch = await epoch_of(stage)
        slow_since = time.time()
        for replica in stage.replicas:
            replica.way.delay_s = 0.5
        await more_starts(stage, 40)
        assert await epoch_of(stage) == epoch, "slow is late, and deposes nobody"
        assert answers_of(stage, leader, since=slow_since) == {"leader"}
        assert answers_of(stage, follower, since=slow_since) == {"standby"}


@both_executors
async def test_all_connections_are_killed(executor: str, two_replicas: TwoReplicas) -> None:
    # A busy machine may need longer than usual to take the locks of both again.
    environment = {**LONG_LEASE, "PIKO_CRASH_GRACE_S": "20"}
    async with two_replicas(executor=executor, environment=environment) as stage:
        leader, follower = await roles(stage)
        epoch = await epoch_of(stage)
        for _ in range(3):
            await kill_connections(stage)
            await more_starts(stage, 10)
        await until_leads(stage, leader)
        await until_follows(stage, follower)
        assert await epoch_of(stage) == epoch


@pytest.mark.parametrize(
    ("executor", "cut"),
    [
        ("leader", "both ways"),
        ("leader", "questions"),
        ("leader", "answers"),
        ("replicas", "answers"),
    ],
)
async def test_the_leader_alone_is_cut_off(executor: str, cut: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor, environment=STEADY_LEASE) as stage:
        leader, follower = await roles(stage)
        if cut == "both ways":
            leader.way.close()
        else:
            leader.way.swallow(questions=cut == "questions", answers=cut == "answers")
        await until_leads(stage, follower)
        await until_misses_the_database(stage, leader)
        await more_starts(stage, pid=follower.process.pid)
        leader.way.close()  # what was swallowed does not come back
        leader.way.open()
        await until_follows(stage, leader)
        await until_leads(stage, follower)


@pytest.mark.parametrize(
    ("executor", "cut"), [("leader", "both ways"), ("leader", "questions"), ("replicas", "answers")]
)
async def test_the_follower_alone_is_cut_off(executor: str, cut: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor, environment=LONG_LEASE) as stage:
        leader, follower = await roles(stage)
        cut_at = time.time()
        if cut == "both ways":
            follower.way.close()
        else:
            follower.way.swallow(questions=cut == "questions", answers=cut == "answers")
        await until_misses_the_database(stage, follower)
        await more_starts(stage, 40, pid=leader.process.pid)
        follower.way.close()
        follower.way.open()
        await until_follows(stage, follower)
        assert answers_of(stage, leader, since=cut_at) == {"leader"}


@both_executors
async def test_connections_are_cut_between_a_commit_and_its_answer(
    executor: str, two_replicas: TwoReplicas
) -> None:
    async with two_replicas(executor=executor) as stage:
        for _ in range(5):
            for replica in stage.replicas:
                replica.way.cut_next_commit()
            await more_starts(stage, 10)
        assert sum(replica.way.cuts for replica in stage.replicas) >= 5
        await roles(stage)
        assert {await liveness(replica) for replica in stage.replicas} == {200}


@both_executors
@pytest.mark.parametrize("late_s", [2, 12])
async def test_commits_come_long_after_their_connections_have_ended(
    late_s: float, executor: str, two_replicas: TwoReplicas
) -> None:
    environment = {**DEFAULTS, "PIKO_HEARTBEAT_INTERVAL_S": "2"}
    async with two_replicas(executor=executor, environment=environment) as stage:
        await roles(stage)
        # What claims, or takes; how a run ended; in which order they come does not matter.
        for written in (
            "UPDATE job_run SET state=" if executor == "replicas" else "INSERT INTO job_lock",
            "duration_s",
        ):
            for replica in stage.replicas:
                replica.way.delay_next_commit(late_s, of=written)
            await wait_until_async(
                lambda: any(not replica.way.commit_is_to_be_late for replica in stage.replicas),
                what=f"a COMMIT of {written} to be late",
            )
            await more_starts(stage)
        await asyncio.sleep(late_s)  # and that each due time has its one run and its end, the judge sees


@both_executors
async def test_the_database_is_away_for_longer_than_the_lease(
    executor: str, two_replicas: TwoReplicas
) -> None:
    # The follower leaves the lease alone for the time of one renewal, and a run to its instance for three
    # heartbeats: long enough for a busy machine.
    terms = {
        "PIKO_LEADER_LEASE_S": "9",
        "PIKO_LEADER_RENEW_INTERVAL_S": "4",
        "PIKO_HEARTBEAT_INTERVAL_S": "4",
    }
    async with two_replicas(executor=executor, environment=terms) as stage:
        leader, follower = await roles(stage)
        epoch = await epoch_of(stage)
        executing = leader if executor == "leader" else follower
        ended_meanwhile = await stage.lingering_run(executing, 3)
        stage.server.kill()
        for replica in stage.replicas:
            await until_misses_the_database(stage, replica)
        await asyncio.sleep(15)  # longer than the lease, three heartbeats and the handler
        await asyncio.to_thread(stage.server.start)
        await until_leads(stage, leader)
        await more_starts(stage)
        ended = "SELECT state FROM job_run WHERE run_id = '{}' AND state != 'RUNNING'"
        await wait_until_async(
            lambda: stage.database.execute(ended.format(ended_meanwhile)),
            what="the end of what had ended while the database was away",
        )
        ((state,),) = await stage.database.execute(ended.format(ended_meanwhile))
        assert state == "SUCCESS", "as its handler ended"
        assert await stage.database.execute("SELECT run_id, error FROM job_run WHERE state = 'LOST'") == []
        assert await epoch_of(stage) == epoch, "an absence of the database is nobody's silence"


@pytest.mark.parametrize("how", ["its way is cut", "it is frozen"])
async def test_a_leader_that_falls_silent_within_a_transaction_is_followed_when_its_lease_is_over(
    how: str, two_replicas: TwoReplicas
) -> None:
    terms = {"PIKO_LEADER_LEASE_S": "6", "PIKO_LEADER_RENEW_INTERVAL_S": "2"}
    async with two_replicas(environment=terms) as stage:
        leader, follower = await roles(stage)
        ((epoch, expired_at),) = await stage.database.execute("SELECT epoch, expires_at FROM leader_lease")
        leader.way.lose_next_commit(of="leader_lease")  # it holds that row, and will not let go of it
        await wait_until_async(lambda: leader.way.is_lost, what="a COMMIT to be lost")
        if how == "it is frozen":
            leader.freeze()
        acquired_at = None

        async def taken_over() -> bool:
            nonlocal expired_at, acquired_at
            ((now_under, expires_at, acquired_at),) = await stage.database.execute(
                "SELECT epoch, expires_at, acquired_at FROM leader_lease"
            )
            expired_at = expires_at if now_under == epoch else expired_at
            return bool(now_under != epoch)

        await wait_until_async(taken_over, what="the takeover", interval=0.1)
        await until_leads(stage, follower)
        assert acquired_at is not None
        waited_s = (acquired_at - expired_at).total_seconds()
        # Where the server did not end that transaction, its row would be held for as long as the way is lost.
        assert waited_s < PATIENCE_S / 2, f"the takeover came {waited_s:.1f} s after the lease was over"
        leader.thaw()
        leader.way.close()
        leader.way.open()
        await until_follows(stage, leader)


async def kill_connections(stage: Stage) -> None:
    """Every connection but the one that says so."""
    rows = await stage.database.execute(
        "SELECT id FROM information_schema.processlist WHERE user = 'piko' AND id != CONNECTION_ID()"
    )
    for (number,) in rows:
        with suppress(DBAPIError):  # it has ended by itself
            await stage.database.execute(f"KILL {number}")
