"""Replicas that end, are frozen, or stand still: every due time has its one run or its record afterwards."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.failures.two_replicas import (
    BOTH_EXECUTORS,
    DEFAULTS,
    LONG_LEASE,
    TwoReplicas,
    answers_of,
    epoch_of,
    liveness,
    more_starts,
    roles,
    until_follows,
    until_leads,
    until_says,
)
from tests.harness.waiting import wait_until_async
from tests.soak.stage import Stage

both_executors = pytest.mark.parametrize("executor", BOTH_EXECUTORS)


async def until_run_is(stage: Stage, run_id: str, state: str) -> None:
    """Wait for the first end that the run has; it must be that one."""

    async def ended() -> str | None:
        ((found,),) = await stage.database.execute(f"SELECT state FROM job_run WHERE run_id = '{run_id}'")
        return None if found == "RUNNING" else str(found)

    assert await wait_until_async(ended, what=f"{run_id} to end", interval=0.2) == state


@both_executors
async def test_the_leader_is_killed(executor: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor) as stage:
        leader, follower = await roles(stage)
        leader.process.kill()
        await until_leads(stage, follower)
        await more_starts(stage, pid=follower.process.pid)
        leader.start()
        await until_follows(stage, leader)


async def test_a_follower_that_takes_over_counts_what_it_runs_itself(two_replicas: TwoReplicas) -> None:
    # Nobody gives up what a living follower runs, though a busy machine lets it stand still for some seconds.
    async with two_replicas(executor="replicas", environment={"PIKO_HEARTBEAT_INTERVAL_S": "10"}) as stage:
        leader, follower = await roles(stage)
        run_id = await stage.lingering_run(follower, 9)
        leader.process.kill()
        await until_leads(stage, follower)
        await until_run_is(stage, run_id, "SUCCESS")  # that its job has begun no other, the judge sees


@both_executors
async def test_the_follower_is_killed(executor: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor, environment=LONG_LEASE) as stage:
        leader, follower = await roles(stage)
        if executor == "replicas":
            await more_starts(stage, 3, pid=follower.process.pid)
        killed_at = time.time()
        follower.process.kill()
        await more_starts(stage, 40, pid=leader.process.pid)
        assert answers_of(stage, leader, since=killed_at) == {"leader"}
        follower.start()
        await until_follows(stage, follower)


@both_executors
async def test_all_replicas_are_killed(executor: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor) as stage:
        for replica in stage.replicas:
            replica.process.kill()
        for replica in stage.replicas:
            replica.start()
        await roles(stage)
        await more_starts(stage)


@both_executors
async def test_the_leader_is_stopped_in_the_middle_of_runs(executor: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor, environment=LONG_LEASE) as stage:
        leader, follower = await roles(stage)
        await stage.lingering_run(leader, 3)
        leader.process.signal(signal.SIGTERM)
        await until_leads(stage, follower)  # without waiting for the lease
        assert await asyncio.to_thread(leader.process.wait) == 0
        await more_starts(stage, pid=follower.process.pid)


async def test_a_follower_that_runs_too_is_stopped(two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor="replicas", environment=LONG_LEASE) as stage:
        leader, follower = await roles(stage)
        await more_starts(stage, 3, pid=follower.process.pid)
        stopped_at = time.time()
        assert await asyncio.to_thread(follower.process.terminate) == 0
        await more_starts(stage, pid=leader.process.pid)
        assert answers_of(stage, leader, since=stopped_at) == {"leader"}


@both_executors
async def test_the_leader_is_frozen_past_its_lease(executor: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor=executor) as stage:
        leader, follower = await roles(stage)
        epoch = await epoch_of(stage)
        leader.freeze()
        await until_leads(stage, follower)
        await more_starts(stage, pid=follower.process.pid)
        leader.thaw()  # that it does not say it leads, the witness sees
        await until_follows(stage, leader)
        await more_starts(stage)
        claimed_late = await stage.database.execute(
            f"SELECT run_id FROM job_run WHERE epoch = {epoch} "
            f"AND claimed_at > (SELECT MIN(claimed_at) FROM job_run WHERE epoch > {epoch})"
        )
        assert claimed_late == []


async def test_a_leader_that_was_frozen_cannot_tell_how_its_runs_ended(two_replicas: TwoReplicas) -> None:
    """Even before its successor has given them up: it is thawed as soon as there is one."""
    heard_of_for_long = {"PIKO_HEARTBEAT_INTERVAL_S": "10"}
    async with two_replicas(environment=heard_of_for_long) as stage:
        leader, follower = await roles(stage)
        run_id = await stage.lingering_run(leader, 60)
        leader.freeze()
        await until_leads(stage, follower)
        leader.thaw()
        await until_follows(stage, leader)
        await until_run_is(stage, run_id, "LOST")


async def test_a_follower_that_runs_too_is_frozen_past_its_heartbeats(two_replicas: TwoReplicas) -> None:
    async with two_replicas(executor="replicas", environment=LONG_LEASE) as stage:
        leader, follower = await roles(stage)
        run_id = await stage.lingering_run(follower, 60)
        frozen_at = time.time()
        follower.freeze()
        await until_run_is(stage, run_id, "LOST")
        await more_starts(stage, pid=leader.process.pid)
        assert answers_of(stage, leader, since=frozen_at) == {"leader"}
        follower.thaw()
        await until_follows(stage, follower)
        await more_starts(stage, 3, pid=follower.process.pid)


@pytest.mark.parametrize(
    ("executor", "lease"),
    [("leader", "short"), ("replicas", "short"), ("leader", "default")],
)
async def test_an_event_loop_is_blocked_for_12_seconds(
    executor: str, lease: str, two_replicas: TwoReplicas
) -> None:
    environment = {**(DEFAULTS if lease == "default" else {}), "PIKO_POLL_INTERVAL_S": "0.3"}
    async with two_replicas(executor=executor, environment=environment) as stage:
        leader, _ = await roles(stage)
        epoch = await epoch_of(stage)
        stage.block_an_event_loop(12)
        replica = await stage.blocked()
        await until_says(stage, replica, 503, "the event loop has been blocked for")
        assert await liveness(replica) == 200
        if lease == "default":
            await until_leads(stage, replica)
            assert await epoch_of(stage) == epoch, "it was late, and the lease still its own"
        elif replica is leader:
            (other,) = (each for each in stage.replicas if each is not replica)
            await until_leads(stage, other)
            await until_follows(stage, replica)
        else:
            await until_follows(stage, replica)
        await more_starts(stage)
