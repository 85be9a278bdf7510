"""Clocks that go wrong."""

from __future__ import annotations

from datetime import datetime, timedelta

from piko.clock import SystemClock


class WrongClock(SystemClock):
    """The machine's clock, whose time of day is so much off, and may be set."""

    def __init__(self, off: timedelta) -> None:
        self.off = off

    def now(self) -> datetime:
        return super().now() + self.off


class MovableClock(SystemClock):
    """The machine's clock, which has measured as much more as the test says.

    So it goes for a process that was stopped, or whose event loop was blocked.
    """

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead_s
