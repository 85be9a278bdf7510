"""Waits that more than one part needs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def happens(awaited: Awaitable[object], *, within_s: float | None) -> bool:
    """Wait for `awaited`, `within_s` seconds at most (None: as long as it takes); whether it came.

    It is cancelled when the time is over. Raises what it raises.
    """
    limit = asyncio.timeout(within_s)
    try:
        async with limit:
            await awaited
    except TimeoutError:
        if not limit.expired():
            raise
        return False
    return True


async def first_of(*awaited: Awaitable[object]) -> None:
    """Return when one of `awaited` is done, and cancel the others. Raises what that one raised."""
    tasks = [asyncio.ensure_future(item) for item in awaited]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def end(task: asyncio.Task[None]) -> None:
    """Cancel `task` and wait for its end."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
