"""Many resources: how soon each has its row, how soon deletions end, and what the operator takes when idle.

    python -m benchmarks.resources                 # 2,000 schedules
    python -m benchmarks.resources --count 10000

A row's delay is the time of its insert, by the database's clock, less the time at which its resource was
sent. The numbers of requests come from the API server's audit log.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Container, Sequence
from datetime import UTC
from functools import partial
from typing import Any

import httpx
from tests.harness.waiting import wait_until_async

from benchmarks.resource_world import (
    Sender,
    World,
    memory_mb,
    percentiles,
    processor_s,
    processor_s_of_each,
    processor_s_since,
    with_world,
)

_IDLE_S = 60.0
_SETTLE_S = 15.0
_ASKED_S = 20.0
_PROBE_S = 0.05
_TOO_LATE = 504
_LONGEST_S = 3600.0


async def delays(world: World, sender: Sender, names: Sequence[str]) -> list[float]:
    """Seconds from when each resource was sent to the insert of its row."""
    rows = await world.database.execute("SELECT job_id, created_at FROM scheduled_job")
    made = {str(job_id): at.replace(tzinfo=UTC) for job_id, at in rows}
    return [(made[name] - sender.sent[name]).total_seconds() for name in names]


async def health(world: World, seconds: float) -> dict[str, float]:
    """Milliseconds that `/healthz` takes to answer, asked over and over for that long."""
    each = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{world.port}", timeout=60) as client:
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end:
            (await client.get("/healthz")).raise_for_status()
            each.append((time.perf_counter() - started) * 1000)
            await asyncio.sleep(_PROBE_S)
    return percentiles(each)


def writes(world: World, names: Container[str] | None = None) -> Counter[tuple[str, str]]:
    """Writes of the operator so far that were answered in time, to the resources of these names or to all.

    By verb and resource. An API server that is too busy answers some with 504, and they are tried again.
    """
    found = world.control_plane.writes(world.namespace)
    return Counter(
        (item.verb, item.resource)
        for item in found
        if item.agent == "piko-operator" and item.status < _TOO_LATE and (names is None or item.name in names)
    )


async def measure(world: World, count: int, *, idle_s: float = _IDLE_S) -> dict[str, Any]:
    """Create, idle, restart, delete."""
    names = [f"r-{number:05}" for number in range(count)]
    found: dict[str, Any] = {}
    sender, operator = Sender(world), world.start()
    try:
        started, before = time.perf_counter(), processor_s(operator)
        await asyncio.gather(*map(sender.create, names))
        found["created in s"] = time.perf_counter() - started
        await _until(lambda: _equals(world.count, count), "the rows")
        each = await delays(world, sender, names)
        found["row after s"] = percentiles(each)
        await world.assess()
        await _until(lambda: world.ready() == count, "the statuses")
        found["statuses after s"] = time.perf_counter() - started
        found["processor s for each resource"] = (processor_s(operator) - before) / count
        found["writes"] = {" ".join(key): number for key, number in sorted(writes(world).items())}
        quiet = writes(world)
        await asyncio.sleep(_SETTLE_S)

        before = processor_s(operator)
        await asyncio.sleep(idle_s)
        found["idle, % of a core"] = (processor_s(operator) - before) / idle_s * 100
        found["idle, /healthz in ms"] = await health(world, min(idle_s, _ASKED_S))
        found["memory, MB"] = memory_mb(operator)
        assert operator.terminate() == 0

        started, operator = time.perf_counter(), world.start()
        await _until(lambda: world.ready() == count, "the restart")
        found["restart in s"] = time.perf_counter() - started
        found["writes at idle and restart"] = (writes(world) - quiet).total()
        audited = world.control_plane.writes(world.namespace)
        found["refused"] = [str(item) for item in audited if 400 <= item.status < _TOO_LATE]
        found["too late"] = sum(item.status == _TOO_LATE for item in audited)

        quiet = writes(world, frozenset(names))
        await asyncio.sleep(_SETTLE_S)  # ready before kopf has had each resource of its listing handled
        started, before_each = time.perf_counter(), processor_s_of_each()
        deleting = asyncio.gather(*map(sender.delete, names))
        extra = [f"x-{number}" for number in range(10)]
        for name in extra:
            await asyncio.sleep(0.2)
            await sender.create(name)
        await deleting
        await _until(lambda: _equals(sender.left, len(extra)), "the deletions")
        found["deleted in s"] = time.perf_counter() - started
        found["processor s for deletions"] = processor_s_since(before_each)
        await _until(lambda: _equals(world.count, len(extra)), "the last rows")
        deletions = writes(world, frozenset(names)) - quiet
        found["writes for deletions"] = {" ".join(key): number for key, number in sorted(deletions.items())}
        each = await delays(world, sender, extra)
        found["row meanwhile after s"] = percentiles(each)
    finally:
        await sender.close()
        operator.kill()
    return found


async def _equals(read: Callable[[], Awaitable[int]], expected: int) -> bool:
    return bool(await read() == expected)


async def _until(condition: Any, what: str) -> None:
    await wait_until_async(condition, what=what, timeout=_LONGEST_S, interval=0.5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000, help="how many schedules")
    asyncio.run(with_world(partial(measure, count=parser.parse_args().count)))
