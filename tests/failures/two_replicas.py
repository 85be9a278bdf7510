"""Two replicas on a database of their own, to which one thing is done, and what they say meanwhile."""

from __future__ import annotations

import re
import shutil
import time
import urllib.error
import urllib.request
from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from tests.harness.reaper import Reaper
from tests.harness.waiting import ANSWER_S, wait_until_async
from tests.soak.stage import Replica, Stage, staged
from tests.soak.witness import Said

BOTH_EXECUTORS = ("leader", "replicas")
LONG_LEASE = {"PIKO_LEADER_LEASE_S": "120", "PIKO_LEADER_RENEW_INTERVAL_S": "2"}
"""Nobody is deposed by a lease that expires."""
STEADY_LEASE = {"PIKO_LEADER_LEASE_S": "8", "PIKO_LEADER_RENEW_INTERVAL_S": "1"}
"""A lease that a test can wait out, and that a leader keeps who stands still for some seconds."""
DEFAULTS = {
    "PIKO_LEADER_LEASE_S": "30",
    "PIKO_LEADER_RENEW_INTERVAL_S": "10",
    "PIKO_HEARTBEAT_INTERVAL_S": "10",
    "PIKO_POLL_INTERVAL_S": "1",
}
"""What a team has that sets none of them."""

_LOOP_WAS_KEPT = re.compile(r"the event loop has been blocked for \d+ s by code outside any run")
"""All that is said where the machine itself keeps the loop; a second reason would be another line."""

IDLE_S = 60.0
"""How long a leader may begin nothing: a soak has a machine to itself, and a test has one that is busy."""

TwoReplicas = Callable[..., AbstractAsyncContextManager[Stage]]
"""The fixture `two_replicas`: keywords are those of `two_replicas_by`."""


@asynccontextmanager
async def two_replicas_by(
    reaper: Reaper,
    *,
    executor: str = "leader",
    environment: Mapping[str, str] | Callable[[int], Mapping[str, str]] | None = None,
) -> AsyncIterator[Stage]:
    """A stage with a leader and a standby, and at its end the assessed.

    The evidence stays where something was wrong.
    """
    given = environment if callable(environment) else lambda _: environment or {}
    async with staged(reaper=reaper, replicas=2, executor=executor, environment=given) as stage:
        stage.idle_s = IDLE_S
        yield stage
        await stage.heal()
        found = await stage.assessed()
        assert not found, "\n".join([*found[:20], f"evidence: {stage.folder}"])
    shutil.rmtree(stage.folder)


async def roles(stage: Stage) -> tuple[Replica, Replica]:
    """The leader and the other, by their own word."""
    since = time.time()

    def found() -> tuple[Replica, Replica] | None:
        said = [stage.witness.said_by(replica.name, since=since) for replica in stage.replicas]
        one, two = stage.replicas
        last = [answers[-1].text if answers else "" for answers in said]
        pairs = {"leader standby": (one, two), "standby leader": (two, one)}
        return pairs.get(" ".join(last))

    pair = await wait_until_async(found, what="a leader and a standby", interval=0.1)
    assert pair is not None
    return pair


async def until_says(stage: Stage, replica: Replica, status: int, *texts: str) -> Said:
    """Wait until the replica answers so, with one of `texts` in it."""
    since = time.time()

    def found() -> Said | None:
        for said in stage.witness.said_by(replica.name, since=since):
            if said.status == status and any(text in said.text for text in texts or ("",)):
                return said
        return None

    try:
        said = await wait_until_async(found, what=f"{replica.name} to answer {status} {texts}", interval=0.1)
    except AssertionError as failure:
        failure.add_note(f"last answers: {stage.witness.said_by(replica.name, since=since)[-3:]}")
        raise
    assert said is not None
    return said


async def until_leads(stage: Stage, replica: Replica) -> None:
    await until_says(stage, replica, 200, "leader")


async def until_follows(stage: Stage, replica: Replica) -> None:
    await until_says(stage, replica, 200, "standby")


async def until_misses_the_database(stage: Stage, replica: Replica) -> None:
    """It says that it cannot do its part because of the database; and lives."""
    await until_says(stage, replica, 503, "not available", "not answered", "rows not read")
    assert await liveness(replica) == 200


async def liveness(replica: Replica) -> int:
    """Status of /healthz; 0 where nobody answers."""

    def ask() -> int:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{replica.port}/healthz", timeout=ANSWER_S
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except (OSError, TimeoutError):
            return 0

    return await to_thread(ask)


def answers_of(stage: Stage, replica: Replica, *, since: float) -> set[str]:
    """What the replica answered after the moment `since`.

    A busy machine may leave a question unanswered, or keep the event loop for a while, and then the answer
    says only that.
    """
    said = stage.witness.said_by(replica.name, since=since)
    return {each.text for each in said if each.status and not _LOOP_WAS_KEPT.fullmatch(each.text)}


async def more_starts(stage: Stage, count: int = 20, *, pid: int | None = None) -> None:
    """Wait for handlers that begin now: so many, or so many in the process `pid`."""

    def begun() -> int:
        return sum(pid is None or note.pid == pid for note in stage.begun())

    before = begun()
    await wait_until_async(lambda: begun() >= before + count, what=f"{count} handlers to begin", interval=0.2)


async def epoch_of(stage: Stage) -> int:
    """Under which epoch the present leadership stands."""
    ((epoch,),) = await stage.database.execute("SELECT epoch FROM leader_lease")
    return int(epoch)
