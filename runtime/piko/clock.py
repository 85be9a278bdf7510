"""The only place that reads the machine's clocks.

Everything else takes a `Clock` (or an instant) as an argument, so that a test decides what time it is.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a part of Piko reads time."""

    def now(self) -> datetime:
        """The present instant: aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps; only differences mean something."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class Slices:
    """Cuts long work into slices of some milliseconds, between which the event loop turns."""

    def __init__(self, clock: Clock, *, slice_s: float = 0.008) -> None:
        self._clock = clock
        self._slice_s = slice_s
        self._began = clock.monotonic()

    async def pause(self) -> None:
        """Let others run, if this slice has lasted long enough."""
        if self._clock.monotonic() - self._began >= self._slice_s:
            await asyncio.sleep(0)
            self._began = self._clock.monotonic()
