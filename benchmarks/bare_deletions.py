"""Deletions of resources without an operator: the least that deletions with a finalizer take on a machine.

    python -m benchmarks.bare_deletions                # 2,000 schedules
    python -m benchmarks.bare_deletions --count 10000

Resources of the size of those of `benchmarks.resources` are deleted by a client that removes the finalizer of
each in the next request, with the patch that the operator sends.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from functools import partial
from typing import Any

from benchmarks.resource_world import Sender, World, processor_s_of_each, processor_s_since, with_world
from piko_operator.resource_api import JSON_PATCH, MERGE_PATCH, without_finalizer
from piko_operator.resources import FINALIZER

_STATUS: dict[str, Any] = {
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": "AsItShouldBe",
            "message": "a message as long as those that are usual in a status",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
        for kind in ("Synced", "Ready")
    ],
    "consecutiveFailures": 0,
    "observedGeneration": 1,
    "row": {"managedBy": "default/" + "n" * 90, "version": 1},
    "schedule": "0 4 * * *",
    "servedBy": "somebody",
}


async def measure_bare(world: World, count: int) -> dict[str, Any]:
    """Delete resources that have Piko's finalizer, and remove it."""
    names = [f"r-{number:05}" for number in range(count)]
    sender, patch = Sender(world), without_finalizer([FINALIZER], deleting=True)

    async def create(name: str) -> None:
        await sender.create(name, finalizers=[FINALIZER])
        await sender.patch(f"{name}/status", {"status": _STATUS}, MERGE_PATCH)

    async def delete(name: str) -> None:
        await sender.delete(name)
        await sender.patch(name, patch, JSON_PATCH)

    try:
        await asyncio.gather(*map(create, names))
        started, before = time.perf_counter(), processor_s_of_each()
        await asyncio.gather(*map(delete, names))
        assert await sender.left() == 0
        return {
            "deleted in s": time.perf_counter() - started,
            "processor s for deletions": processor_s_since(before),
        }
    finally:
        await sender.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=2_000, help="how many schedules")
    asyncio.run(with_world(partial(measure_bare, count=parser.parse_args().count)))
