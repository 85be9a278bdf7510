"""Closing as a stack: who opens something says how it is closed; the last that was opened is closed first.

Whatever one closing does, the next has its turn: each has a bound in time, and one that raises, be it a
`KeyboardInterrupt` out of somebody's sink, or that hangs, is logged and left. What swallows its cancellation
goes on and is counted: only the end of the process ends it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from piko.observability.logs import get_logger
from piko.text import error_text, traceback_text

WITHIN_S = 10.0
_GRACE_S = 1.0

log = get_logger(__name__)


class ClosingStack:
    """Closings in the order in which their parts were opened; `close` goes the other way."""

    def __init__(self, *, shown: Callable[[str], str] = str) -> None:
        """`shown` hides what no log may show of what a closing raises."""
        self._shown = shown
        self._closings: list[tuple[str, Callable[[], Awaitable[object]], float]] = []
        self._left: list[asyncio.Task[None]] = []

    @property
    def abandoned(self) -> int:
        """Closings that go on although they were cancelled."""
        return sum(not task.done() for task in self._left)

    def push(self, what: str, close: Callable[[], Awaitable[object]], *, within_s: float = WITHIN_S) -> None:
        """`close` is called at most once, and has `within_s` seconds."""
        self._closings.append((what, close, within_s))

    async def close(self) -> None:
        """Close all, one after the other. A cancellation cuts short the one in progress, not the others."""
        cancelled: asyncio.CancelledError | None = None
        while self._closings:
            what, close, within_s = self._closings.pop()
            try:
                await self._close_one(what, close, within_s)
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def close_together(self) -> None:
        """Close all at once: for parts that know nothing of one another."""
        closings, self._closings = self._closings, []
        if closings:
            await asyncio.gather(*(self._close_one(*each) for each in closings))

    async def _close_one(self, what: str, close: Callable[[], Awaitable[object]], within_s: float) -> None:
        closing = asyncio.create_task(_guarded(what, close, self._shown), name=f"close {what}")
        try:
            await asyncio.wait({closing}, timeout=within_s)
            if not closing.done():
                log.error("not_closed", what=what, error=f"no end within {within_s:g} s")
        finally:
            if not closing.done():
                closing.cancel()
                await asyncio.wait({closing}, timeout=_GRACE_S)
            if not closing.done():
                self._left.append(closing)
                log.error("closing_goes_on", what=what)


async def _guarded(what: str, close: Callable[[], Awaitable[object]], shown: Callable[[str], str]) -> None:
    try:
        await close()
    except GeneratorExit:
        raise
    except asyncio.CancelledError as error:
        ourselves = asyncio.current_task()
        if ourselves is not None and ourselves.cancelling():
            raise
        log.error("not_closed", what=what, error=shown(error_text(error)))
    except BaseException as error:  # noqa: BLE001 what closes here may be anybody's code
        text, traceback = shown(error_text(error)), shown(traceback_text(error))
        log.error("not_closed", what=what, error=text, exception=traceback)
