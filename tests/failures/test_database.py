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
    answers_of,
    epoch_of,
    liveness,
    more_starts,
    roles,
    two_replicas,
    until_follows,
    until_leads,
    until_misses_the_database,
)
from tests.harness.servers import Servers
from tests.soak.stage import Stage

both_executors = pytest.mark.parametrize("executor", BOTH_EXECUTORS)


@both_executors
async def test_the_database_is_killed_and_started_again(executor: str, servers: Servers) -> None:
    async with two_replicas(servers, executor=executor) as stage:
        stage.server.kill()
        for replica in stage.replicas:
            await until_misses_the_database(stage, replica)
        await asyncio.to_thread(stage.server.start)
        await roles(stage)
        await more_starts(stage)


async def test_the_database_is_not_there_when_replicas_start(servers: Servers) -> None:
    async with two_replicas(servers) as stage:
        stage.server.kill()
        for replica in stage.replicas:
            replica.process.kill()
            replica.start()
        for replica in stage.replicas:
            await until_misses_the_database(stage, replica)
        await asyncio.to_thread(stage.server.start)
        await roles(stage)
        await more_starts(stage)


async def test_the_database_takes_half_a_second_for_each_statement(servers: Servers) -> None:
    async with two_replicas(servers, environment=DEFAULTS) as stage:
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
async def test_all_connections_are_killed(executor: str, servers: Servers) -> None:
    async with two_replicas(servers, executor=executor, environment=LONG_LEASE) as stage:
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
async def test_the_leader_alone_is_cut_off(executor: str, cut: str, servers: Servers) -> None:
    async with two_replicas(servers, executor=executor) as stage:
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
async def test_the_follower_alone_is_cut_off(executor: str, cut: str, servers: Servers) -> None:
    async with two_replicas(servers, executor=executor, environment=LONG_LEASE) as stage:
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
async def test_connections_are_cut_between_a_commit_and_its_answer(executor: str, servers: Servers) -> None:
    async with two_replicas(servers, executor=executor) as stage:
        for _ in range(5):
            for replica in stage.replicas:
                replica.way.cut_next_commit()
            await more_starts(stage, 10)
        assert sum(replica.way.cuts for replica in stage.replicas) >= 5
        await roles(stage)
        assert {await liveness(replica) for replica in stage.replicas} == {200}


async def kill_connections(stage: Stage) -> None:
    """Every connection but the one that says so."""
    rows = await stage.database.execute(
        "SELECT id FROM information_schema.processlist WHERE user = 'piko' AND id != CONNECTION_ID()"
    )
    for (number,) in rows:
        with suppress(DBAPIError):  # it has gone by itself
            await stage.database.execute(f"KILL {number}")
