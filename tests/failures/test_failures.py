"""Things fail while jobs run, and the judge finds that every due time had its one run or its record.

Each failure is really made to two replicas on a database of their own. What is broken by one hand at a time
here, a soak mixes at random.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from sqlalchemy.exc import DBAPIError

from tests.harness.servers import Servers
from tests.harness.waiting import wait_until_async
from tests.soak.stage import Replica, Stage, staged


async def readiness(replica: Replica) -> tuple[int, str]:
    """Status and body of /readyz; (0, "") where nobody answers."""

    def ask() -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{replica.port}/readyz", timeout=3) as answer:
                return answer.status, answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (OSError, TimeoutError):
            return 0, ""

    return await asyncio.to_thread(ask)


async def roles(stage: Stage) -> tuple[Replica, Replica]:
    """The leader and the other."""

    async def found() -> tuple[Replica, Replica] | None:
        said = [(await readiness(replica))[1] for replica in stage.replicas]
        one, two = stage.replicas
        return {("leader", "standby"): (one, two), ("standby", "leader"): (two, one)}.get((said[0], said[1]))

    return await wait_until_async(found, timeout=30, what="a leader and a standby", interval=0.1)


async def until_ready(replica: Replica, *, within: float = 40) -> None:
    async def found() -> bool:
        return (await readiness(replica))[0] == 200

    await wait_until_async(found, timeout=within, what="readiness", interval=0.1)


async def until_unready(replica: Replica, *, within: float = 30) -> None:
    """It says that it cannot do its part because of the database."""

    async def found() -> bool:
        status, text = await readiness(replica)
        return status == 503 and any(word in text for word in ("not available", "not answered", "renewed"))

    await wait_until_async(found, timeout=within, what="a reason not to be ready", interval=0.1)


async def more_starts(stage: Stage, count: int = 20) -> None:
    """Work goes on."""
    before = len(stage.begun())
    await wait_until_async(
        lambda: len(stage.begun()) >= before + count, timeout=45, what="runs to begin again", interval=0.2
    )


@asynccontextmanager
async def two_replicas(servers: Servers, **values: object) -> AsyncIterator[Stage]:
    """A stage, and at its end the verdict; the evidence stays where something was wrong."""
    async with staged(reaper=servers.reaper, replicas=2, **values) as stage:  # type: ignore[arg-type]
        yield stage
        await stage.heal(peace_s=3)
        assert await stage.verdict() == []
    shutil.rmtree(stage.folder)


# ---- failures -------------------------------------------------------------------------------------


async def kill_the_follower_then_all(stage: Stage) -> None:
    leader, follower = await roles(stage)
    follower.process.kill()
    await more_starts(stage)
    leader.process.kill()
    for replica in stage.replicas:
        replica.start()


async def freeze_the_leader_past_its_lease(stage: Stage) -> None:
    leader, follower = await roles(stage)
    ((epoch,),) = await stage.database.execute("SELECT epoch FROM leader_lease")
    leader.freeze()
    await wait_until_async(
        lambda: _is(follower, "leader"), timeout=20, what="the other to lead", interval=0.1
    )
    ((newest,),) = await stage.database.execute("SELECT MAX(epoch) FROM job_run")
    leader.thaw()
    await wait_until_async(lambda: _is(leader, "standby"), timeout=20, what="it to follow", interval=0.1)
    late = await stage.database.execute(
        f"SELECT run_id FROM job_run WHERE epoch = {epoch} AND state = 'SUCCESS' "
        f"AND finished_at > (SELECT acquired_at FROM leader_lease)"
    )
    assert late == [], f"what was claimed under epoch {epoch} ended well after {newest} had begun"


async def kill_the_database_and_start_again(stage: Stage) -> None:
    stage.server.kill()
    for replica in stage.replicas:
        await until_unready(replica)
    await asyncio.to_thread(stage.server.start)
    for replica in stage.replicas:
        await until_ready(replica)


async def start_without_a_database(stage: Stage) -> None:
    stage.server.kill()
    for replica in stage.replicas:
        replica.process.kill()
        replica.start()
    for replica in stage.replicas:
        await until_unready(replica)
    await asyncio.to_thread(stage.server.start)


async def slow_down_every_statement(stage: Stage) -> None:
    for replica in stage.replicas:
        replica.way.delay_s = 0.5
    await more_starts(stage, 24)


async def kill_connections(stage: Stage) -> None:
    own = (await stage.database.execute("SELECT CONNECTION_ID()"))[0][0]
    rows = await stage.database.execute("SELECT id FROM information_schema.processlist WHERE user = 'piko'")
    for (number,) in rows:
        if number != own:
            with suppress(DBAPIError):  # it has gone by itself
                await stage.database.execute(f"KILL {number}")
    await more_starts(stage)


async def swallow_the_leaders_questions(stage: Stage) -> None:
    leader, follower = await roles(stage)
    leader.way.swallow(questions=True)
    await wait_until_async(
        lambda: _is(follower, "leader"), timeout=40, what="the other to lead", interval=0.1
    )
    await until_unready(leader)
    leader.way.close()


async def swallow_the_leaders_answers(stage: Stage) -> None:
    leader, follower = await roles(stage)
    leader.way.swallow(answers=True)
    await wait_until_async(
        lambda: _is(follower, "leader"), timeout=40, what="the other to lead", interval=0.1
    )
    await until_unready(leader)
    leader.way.close()


async def cut_commits_from_their_answers(stage: Stage) -> None:
    for _ in range(6):
        for replica in stage.replicas:
            replica.way.cut_next_commit()
        await more_starts(stage, 12)
    assert sum(replica.way.cuts for replica in stage.replicas) >= 6


async def stop_in_the_middle_of_runs(stage: Stage) -> None:
    leader, _ = await roles(stage)
    leader.process.signal(signal.SIGTERM)
    assert leader.process.wait() == 0
    await more_starts(stage)


def _is(replica: Replica, role: str) -> Awaitable[bool]:
    async def found() -> bool:
        return (await readiness(replica))[1] == role

    return found()


FAILURES: list[Callable[[Stage], Awaitable[None]]] = [
    kill_the_follower_then_all,
    freeze_the_leader_past_its_lease,
    kill_the_database_and_start_again,
    start_without_a_database,
    kill_connections,
    swallow_the_leaders_questions,
    swallow_the_leaders_answers,
    cut_commits_from_their_answers,
    stop_in_the_middle_of_runs,
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: str(failure.__name__))
async def test_every_due_time_is_accounted_for_after(
    failure: Callable[[Stage], Awaitable[None]], servers: Servers
) -> None:
    async with two_replicas(servers) as stage:
        await failure(stage)
        await more_starts(stage)


@pytest.mark.parametrize(
    "failure", [kill_the_follower_then_all, swallow_the_leaders_answers], ids=lambda failure: failure.__name__
)
async def test_it_is_so_where_every_replica_runs_too(
    failure: Callable[[Stage], Awaitable[None]], servers: Servers
) -> None:
    async with two_replicas(servers, executor="replicas") as stage:
        await failure(stage)
        await more_starts(stage)


async def test_a_slow_database_makes_runs_late_and_nothing_worse(servers: Servers) -> None:
    usual = {  # the defaults: what a team has that sets none of them
        "PIKO_LEADER_LEASE_S": "30",
        "PIKO_LEADER_RENEW_INTERVAL_S": "10",
        "PIKO_HEARTBEAT_INTERVAL_S": "10",
    }
    async with two_replicas(servers, environment=usual) as stage:
        ((epoch,),) = await stage.database.execute("SELECT epoch FROM leader_lease")
        await slow_down_every_statement(stage)
        ((same,),) = await stage.database.execute("SELECT epoch FROM leader_lease")
        assert same == epoch, "nobody was deposed"
