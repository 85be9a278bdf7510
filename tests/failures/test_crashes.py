"""A crash is seen at once, by session locks, and what is no crash changes nothing. At default settings.

Each claim is an order of instants that the database wrote: a takeover before the lease expired, `LOST` before
three heartbeats were over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.failures.test_api_server import lease_by
from tests.failures.two_replicas import (
    BOTH_EXECUTORS,
    DEFAULTS,
    TwoReplicas,
    epoch_of,
    more_starts,
    roles,
    until_follows,
    until_leads,
)
from tests.harness.control_plane import ControlPlane
from tests.harness.waiting import wait_until_async
from tests.leadership.api_proxy import ApiProxy
from tests.soak.stage import Replica, Stage

PATIENT = {**DEFAULTS, "PIKO_CRASH_GRACE_S": "20"}
"""For a living replica on a busy machine, which has to take its lock again within the grace."""
THREE_HEARTBEATS_S = 30


async def lease_of(stage: Stage) -> tuple[int, datetime, datetime]:
    """The epoch, when it began, and when it expires."""
    ((epoch, acquired_at, expires_at),) = await stage.database.execute(
        "SELECT epoch, acquired_at, expires_at FROM leader_lease"
    )
    return epoch, acquired_at, expires_at


async def instance_of(stage: Stage, replica: Replica) -> str:
    rows = await stage.database.execute(
        f"SELECT instance_id FROM runtime_instance WHERE pid = {replica.process.pid}"
    )
    return str(rows[0][0])


async def until_locks_are_held(stage: Stage, count: int) -> None:
    async def held() -> bool:
        rows = await stage.database.execute(
            "SELECT COUNT(*) FROM session_lock WHERE IS_USED_LOCK(lock_name) = session_id"
        )
        return bool(rows[0][0] == count)

    await wait_until_async(held, what=f"{count} replicas to hold their locks")


async def until_both_hold_locks(stage: Stage, leader: Replica) -> None:
    """Wait until each has seen that the other holds its lock: only then does its fall mean anything."""
    await until_locks_are_held(stage, len(stage.replicas))
    await until_it_has_looked(stage, leader)

    async def follower_waits() -> bool:
        return bool(
            await stage.database.execute(
                "SELECT 1 FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id != CONNECTION_ID() AND state = 'User lock'"
            )
        )

    await wait_until_async(follower_waits, what="the follower to wait for the leader's lock")


async def until_it_has_looked(stage: Stage, leader: Replica) -> None:
    """Wait until the leader has begun a look at all locks after this call, and ended it.

    Its session with the lock does nothing else, so two further statements there are two looks: the second
    begins when the first has ended.
    """
    instance_id, seen = await instance_of(stage, leader), list[int]()

    async def looked_twice() -> bool:
        rows = await stage.database.execute(
            "SELECT query_id FROM information_schema.processlist "
            f"WHERE id = (SELECT session_id FROM session_lock WHERE instance_id = '{instance_id}')"
        )
        seen.extend(number for (number,) in rows if number not in seen)
        return len(seen) > 2

    await wait_until_async(looked_twice, what="the leader to look at the locks")


async def until_lost(stage: Stage, run_id: str) -> datetime:
    """Wait until the run has ended; it must be lost. When that was, by the database's clock."""

    async def ended() -> Any:
        rows = await stage.database.execute(
            f"SELECT state, finished_at FROM job_run WHERE run_id = '{run_id}'"
        )
        return None if rows[0][0] == "RUNNING" else rows[0]

    state, finished_at = await wait_until_async(ended, what=f"{run_id} to end", interval=0.2)
    assert state == "LOST"
    assert isinstance(finished_at, datetime)
    return finished_at


async def crash_of_the_leader(stage: Stage) -> None:
    """Kill the leader in the middle of a run, and see that nothing waits for its lease or its heartbeat."""
    leader, follower = await roles(stage)
    await until_both_hold_locks(stage, leader)
    run_id = await stage.lingering_run(leader, 60)
    instance_id = await instance_of(stage, leader)
    epoch, _, expires_at = await lease_of(stage)  # of before the kill: the other may be very quick
    leader.process.kill()
    await until_leads(stage, follower)
    after, acquired_at, _ = await lease_of(stage)
    assert after == epoch + 1
    assert acquired_at < expires_at, "it did not wait for the lease"
    lost_at = await until_lost(stage, run_id)
    ((heartbeat_at,),) = await stage.database.execute(
        f"SELECT heartbeat_at FROM runtime_instance WHERE instance_id = '{instance_id}'"
    )
    assert (lost_at - heartbeat_at).total_seconds() < THREE_HEARTBEATS_S, "it did not wait for heartbeats"
    await more_starts(stage, pid=follower.process.pid)
    leader.start()
    await until_follows(stage, leader)


@pytest.mark.parametrize("executor", BOTH_EXECUTORS)
async def test_a_leader_that_is_killed_is_followed_before_its_lease_is_over(
    executor: str, two_replicas: TwoReplicas
) -> None:
    async with two_replicas(executor=executor, environment=DEFAULTS) as stage:
        await crash_of_the_leader(stage)


async def test_a_holder_of_a_kubernetes_lease_that_is_killed_is_followed_before_it_is_over(
    two_replicas: TwoReplicas, control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(ApiProxy(control_plane, tmp_path).serving())
        environment = {**DEFAULTS, "PIKO_LEADER_LEASE_S": "120", **lease_by(proxy, namespace)}
        async with two_replicas(environment=environment) as stage:
            await crash_of_the_leader(stage)


async def test_runs_of_a_follower_that_is_killed_are_lost_before_its_heartbeats_are_over(
    two_replicas: TwoReplicas,
) -> None:
    async with two_replicas(executor="replicas", environment=DEFAULTS) as stage:
        leader, follower = await roles(stage)
        epoch = await epoch_of(stage)
        await until_both_hold_locks(stage, leader)
        run_id = await stage.lingering_run(follower, 60)
        instance_id = await instance_of(stage, follower)
        follower.process.kill()
        lost_at = await until_lost(stage, run_id)
        ((heartbeat_at,),) = await stage.database.execute(
            f"SELECT heartbeat_at FROM runtime_instance WHERE instance_id = '{instance_id}'"
        )
        assert (lost_at - heartbeat_at).total_seconds() < THREE_HEARTBEATS_S
        assert await epoch_of(stage) == epoch


async def test_the_only_replica_is_killed_and_its_successor_waits_for_no_lease(
    two_replicas: TwoReplicas,
) -> None:
    environment = {**DEFAULTS, "PIKO_LEADER_LEASE_S": "600"}  # longer than a program takes to start anywhere
    async with two_replicas(environment=environment) as stage:
        leader, follower = await roles(stage)
        assert await asyncio.to_thread(follower.process.terminate) == 0
        await until_leads(stage, leader)
        await until_locks_are_held(stage, 1)
        leader.process.kill()
        epoch, _, expires_at = await lease_of(stage)
        leader.start()
        await until_leads(stage, leader)
        after, acquired_at, _ = await lease_of(stage)
        assert (after, acquired_at < expires_at) == (epoch + 1, True)
        await more_starts(stage)


@pytest.mark.parametrize("how", ["its session is killed", "it is frozen", "statements are slow"])
async def test_what_is_no_crash_changes_no_leader(how: str, two_replicas: TwoReplicas) -> None:
    async with two_replicas(environment=PATIENT) as stage:
        leader, follower = await roles(stage)
        await until_both_hold_locks(stage, leader)
        epoch = await epoch_of(stage)
        if how == "its session is killed":
            for replica in (leader, follower, leader):
                await kill_session(stage, replica)
                await until_both_hold_locks(stage, leader)
        elif how == "it is frozen":
            leader.freeze()
            await asyncio.sleep(5)
            leader.thaw()
        else:
            for replica in stage.replicas:
                replica.way.delay_s = 0.5
            await kill_session(stage, leader)
        await more_starts(stage, 30)
        await until_leads(stage, leader)
        await until_follows(stage, follower)
        assert await epoch_of(stage) == epoch


async def kill_session(stage: Stage, replica: Replica) -> None:
    """End the session with which a living replica holds its lock, and wait until it has."""
    instance_id = await instance_of(stage, replica)
    ((session_id,),) = await stage.database.execute(
        f"SELECT session_id FROM session_lock WHERE instance_id = '{instance_id}'"
    )
    await stage.database.execute(f"KILL {session_id}")
    session = f"SELECT 1 FROM information_schema.processlist WHERE id = {session_id}"

    async def has_ended() -> bool:
        return not await stage.database.execute(session)

    await wait_until_async(has_ended, what=f"the session of {replica.name} to end")


async def test_behind_a_proxy_that_keeps_sessions_the_lease_decides(two_replicas: TwoReplicas) -> None:
    """The lock of a leader that was killed stays held, so nobody presumes it dead."""
    environment: Mapping[str, str] = {"PIKO_LEADER_LEASE_S": "6", "PIKO_LEADER_RENEW_INTERVAL_S": "0.5"}
    async with two_replicas(environment=environment) as stage:
        for replica in stage.replicas:
            replica.way.keeps_sessions = True
        leader, follower = await roles(stage)
        await until_both_hold_locks(stage, leader)
        leader.process.kill()
        epoch, _, expires_at = await lease_of(stage)
        await until_leads(stage, follower)
        after, acquired_at, _ = await lease_of(stage)
        assert (after, acquired_at >= expires_at) == (epoch + 1, True)
        for replica in stage.replicas:
            replica.way.keeps_sessions = False
        await more_starts(stage, pid=follower.process.pid)
