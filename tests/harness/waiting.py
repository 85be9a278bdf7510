"""Bounded polling: the only way in which a test waits for what it cannot await.

How long a test waits is said here and nowhere else. The bounds end a test that hangs; none is a claim about
speed, so that they may be long: a test that passes waits for no bound. A test whose claim is that something
comes before something else, such as a hand-over before a lease expires, names its own bound and says why.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Required, TypedDict, TypeVar, Unpack, overload

T = TypeVar("T")

PATIENCE_S = 300.0
"""For what a quiet machine does within moments, and one that runs much else beside the tests does later."""
PATIENTLY = f"--timeout={PATIENCE_S:g}s"
"""The same, for a kubectl that waits."""
ANSWER_S = 20.0
"""For one answer of a server that may hang, where the test asks again or says what silence means."""

_INTERVAL_S = 0.05


def wait_until(
    condition: Callable[[], T | None],
    *,
    what: str,
    timeout: float = PATIENCE_S,
    interval: float = _INTERVAL_S,
) -> T:
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


class _Bounds(TypedDict, total=False):
    what: Required[str]
    timeout: float
    interval: float


@overload
async def wait_until_async(condition: Callable[[], Awaitable[T | None]], **bounds: Unpack[_Bounds]) -> T: ...


@overload
async def wait_until_async(condition: Callable[[], T | None], **bounds: Unpack[_Bounds]) -> T: ...


async def wait_until_async(
    condition: Callable[[], Any],
    *,
    what: str,
    timeout: float = PATIENCE_S,  # noqa: ASYNC109 one signature with `wait_until`, whose failure names `what`
    interval: float = _INTERVAL_S,
) -> Any:
    """`wait_until` for a coroutine, with a condition that may be one too."""
    deadline = time.monotonic() + timeout
    while True:
        outcome = condition()
        value = await outcome if inspect.isawaitable(outcome) else outcome
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(_failure(what, timeout, value))
        await asyncio.sleep(interval)


def _failure(what: str, timeout: float, value: object) -> str:
    return f"waited {timeout:g} s for {what}; last seen: {value!r}"
