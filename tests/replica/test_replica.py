"""The life of a replica in this process: how it waits, what it says of itself, how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from piko.replica.parts import Parts
from piko.replica.replica import Replica
from piko.replica.running import RunningReplica
from piko.store.schema.migrate import upgrade
from tests.harness.databases import run_statement
from tests.harness.waiting import PATIENCE_S, wait_until_async
from tests.replica.composing import composed, dsn_in


@asynccontextmanager
async def lives(parts: Parts) -> AsyncIterator[RunningReplica]:
    """Run a replica of `parts` while the block lasts."""
    replica = Replica(parts=parts)
    life = asyncio.create_task(replica.run())
    try:
        yield replica
    finally:
        replica.stop()
        await life


async def leads(replica: RunningReplica) -> None:
    """Return once it leads; it may be ready before, as a standby."""
    await wait_until_async(
        lambda: replica.readiness.ready and replica.readiness.role == "leader", what="a replica that leads"
    )


async def misses_tables(replica: RunningReplica) -> None:
    def says_so() -> bool:
        return any("piko db upgrade" in reason for reason in replica.readiness.reasons)

    await wait_until_async(says_so, what="the reason with its remedy")


async def test_a_replica_without_tables_waits_for_them_and_begins_when_they_are_there(tmp_path: Path) -> None:
    async with lives(composed(tmp_path)) as replica:
        await misses_tables(replica)
        assert (replica.liveness, replica.rows_read) == ((), False)
        await upgrade(dsn_in(tmp_path))
        await leads(replica)
        assert (replica.rows_read, dict(replica.assessed_rows), dict(replica.config_notes)) == (True, {}, {})


async def test_a_stop_ends_a_replica_that_still_waits_for_its_database(tmp_path: Path) -> None:
    async with lives(composed(tmp_path)) as replica:
        replica.stop()
        await asyncio.wait_for(replica.ended(), timeout=PATIENCE_S)
        assert replica.readiness.reasons == ("stopping",)
    assert (replica.liveness, replica.abandoned) == ((), 0)


async def test_a_stop_leaves_no_lease_and_signs_off(tmp_path: Path) -> None:
    await upgrade(dsn_in(tmp_path))
    with capture_logs() as logged:
        async with lives(composed(tmp_path)) as replica:
            await leads(replica)
            instance_id = replica.instance.instance_id
            assert await run_statement(dsn_in(tmp_path), _SIGNED_OFF) == [(instance_id, None)]
    ((_, stopped_at),) = await run_statement(dsn_in(tmp_path), _SIGNED_OFF)
    assert stopped_at is not None
    events = [item["event"] for item in logged if item["log_level"] == "info"]
    assert [each for each in events if each in ORDER] == ORDER
    errors = [item["event"] for item in logged if item["log_level"] == "error"]
    assert set(errors) <= {"event_loop_blocked"}, "but for what a busy machine does to the event loop"


_SIGNED_OFF = "SELECT instance_id, stopped_at FROM runtime_instance"
ORDER = ["starting", "leadership_acquired", "stopping", "leadership_released", "stopped"]


class Part:
    """A part that does one thing and returns, or raises."""

    def __init__(self, name: str, error: Exception | None = None) -> None:
        self.name = name
        self._error = error

    async def run(self) -> None:
        if self._error is not None:
            raise self._error


async def test_a_part_that_returns_turns_liveness_red_and_one_that_fails_readiness(tmp_path: Path) -> None:
    await upgrade(dsn_in(tmp_path))
    parts = composed(tmp_path)
    strange = (Part("returns"), Part("fails", ValueError("no luck")))
    async with lives(replace(parts, running=(*parts.running, *strange))) as replica:
        await wait_until_async(lambda: replica.liveness, what="a part that has ended")
        assert replica.liveness == ("parts that ended unexpectedly: returns",)
        reason = "fails fails: ValueError: no luck"
        await wait_until_async(lambda: reason in replica.readiness.reasons, what="the part that fails")
    assert not replica.liveness, "it was stopped"


async def test_a_replica_that_is_over_although_nobody_stopped_it_is_not_alive(tmp_path: Path) -> None:
    parts = composed(tmp_path)
    replica = Replica(parts=parts)
    life = asyncio.create_task(replica.run())
    await misses_tables(replica)
    life.cancel()
    await asyncio.wait({life})
    assert replica.liveness == ("parts that ended unexpectedly: replica",)
