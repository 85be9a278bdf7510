"""Calls of hooks: each within a bounded time, a bounded number at once, and none of them anybody's trouble.

A hook that raises or takes too long is logged with what to do, and counted. One that ignores its
cancellation is abandoned, and not called again until that call has ended: so no more than one call of it goes
on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from piko.core.hooks import Hook, HookEvent, Hooks, HookValue
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.text import error_text, first_line, traceback_text

_CANCELLED_S = 1.0
"""How long a hook that was cancelled may take to end."""
_AT_ONCE = 8
_LONGEST = 500

log = get_logger(__name__)


class HookCalls:
    """Calls the hooks of one app; each call may take `timeout_s` seconds."""

    def __init__(self, *, hooks: Hooks, metrics: Metrics, timeout_s: float) -> None:
        self._hooks = hooks
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._abandoned: dict[str, asyncio.Task[object]] = {}

    @property
    def events(self) -> frozenset[HookEvent]:
        """What there are hooks for."""
        return self._hooks.events

    @property
    def at_once(self) -> int:
        """How many calls are in progress at most."""
        return _AT_ONCE

    async def announce(self, event: HookEvent, value: HookValue) -> None:
        """Call the hooks that are for `event` of that job with `value`; return when they have ended."""
        hooks: Sequence[Hook] = self._hooks.of(event, value.job_id)
        await asyncio.gather(*(self._call(hook, value) for hook in hooks))

    async def _call(self, hook: Hook, value: HookValue) -> None:
        async with self._turns:
            trouble = await self._trouble_of(hook, value)
        self._metrics.hook_calls.labels(hook.event.value, "success" if trouble is None else "failure").inc()
        if trouble is not None:
            text, remedy = trouble
            log.error(
                "hook_failed", hook=hook.name, called_for=hook.event.value, job_id=value.job_id, error=text,
                remedy=f"{remedy}; it is not called again for this, and no run is affected",
            )  # fmt: skip

    async def _trouble_of(self, hook: Hook, value: HookValue) -> tuple[str, str] | None:
        """What was wrong with a call, and what to do; None: it went well."""
        if (earlier := self._abandoned.get(hook.name)) is not None and not earlier.done():
            return (
                "an earlier call of it ignored its cancellation and goes on, so it was not called",
                "do not catch asyncio.CancelledError in it",
            )
        task = asyncio.ensure_future(hook.function(value))
        try:
            await asyncio.wait({task}, timeout=self._timeout_s)
            if not task.done():
                return await self._cut(hook, task)
        except asyncio.CancelledError:
            task.cancel()
            raise
        return _raised(task)

    async def _cut(self, hook: Hook, task: asyncio.Future[object]) -> tuple[str, str]:
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCELLED_S)
        remedy = "bound what it waits for, or raise hook_timeout_s"
        if not task.done():
            assert isinstance(task, asyncio.Task)
            self._abandoned[hook.name] = task
            return f"it took longer than {self._timeout_s:g} s, and goes on although cancelled", remedy
        if not task.cancelled():
            task.exception()  # seen: it was asked to end, so what it raises is no news
        return f"it took longer than {self._timeout_s:g} s and was cancelled", remedy


def _raised(task: asyncio.Future[object]) -> tuple[str, str] | None:
    if task.cancelled():
        return "it cancelled itself", "let it return or raise"
    error = task.exception()
    if error is None:
        return None
    log.debug("hook_raised", traceback=traceback_text(error))
    return first_line(error_text(error), most=_LONGEST), "put it right, or catch in it what it can do without"
