"""Bounded polling: the only way in which a test waits for what it cannot await."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

T = TypeVar("T")

_INTERVAL_S = 0.05


def wait_until(condition: Callable[[], T], *, timeout: float, what: str, interval: float = _INTERVAL_S) -> T:
    """Calls `condition` until it returns something true, and returns that.

    Raises `AssertionError` after `timeout` seconds, with `what` was awaited and the last value seen. An
    exception of `condition` is not caught: what may fail for a while says so in its return value.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() >= deadline:
            raise AssertionError(_failure(what, timeout, value))
        time.sleep(interval)
    return value


async def wait_until_async(
    condition: Callable[[], T | Awaitable[T]],
    *,
    timeout: float,  # noqa: ASYNC109 one signature with `wait_until`; the failure has to name what was awaited
    what: str,
    interval: float = _INTERVAL_S,
) -> T:
    """`wait_until` for a coroutine, with a condition that may be one too."""
    deadline = time.monotonic() + timeout
    while True:
        outcome = condition()
        value = await cast("Awaitable[T]", outcome) if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(_failure(what, timeout, value))
        await asyncio.sleep(interval)


def _failure(what: str, timeout: float, value: object) -> str:
    return f"waited {timeout:g} s for {what}; last seen: {value!r}"
