"""The only place that reads the machine's clocks.

Everything else takes a `Clock` (or an instant) as an argument, so that a test decides what time it is.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["Clock", "DatabaseClock", "Slices", "SystemClock"]


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


class DatabaseClock:
    """The database's time of day, as it was measured last; the machine's until then.

    What is due is decided by one clock, whichever replica leads: the database's. Between two measurements the
    machine's clocks carry it on. Where they disagree, because the time of day was set meanwhile, the earlier
    one counts: what starts late is late, what starts early may be wrong.
    """

    def __init__(self, machine: Clock) -> None:
        self._machine = machine
        self._ahead = timedelta()
        self._anchor: tuple[datetime, float] | None = None

    @property
    def machine_ahead_s(self) -> float:
        """Seconds by which the machine's time of day is ahead of the database's."""
        return self._ahead.total_seconds()

    def now(self) -> datetime:
        if self._anchor is None:
            return self._machine.now()
        moment, measured_at = self._anchor
        carried = moment + timedelta(0, self._machine.monotonic() - measured_at)
        corrected = self._machine.now() - self._ahead
        return min(carried, corrected)

    def monotonic(self) -> float:
        return self._machine.monotonic()

    def machine_now(self) -> datetime:
        """The machine's own time of day, right or wrong."""
        return self._machine.now()

    def is_at(self, moment: datetime, *, machine: datetime, monotonic: float) -> None:
        """It was `moment` by the database when the machine's two clocks said so."""
        self._ahead = machine - moment
        self._anchor = (moment, monotonic)


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
