"""The only place that reads the machine's clocks.

Everything else takes a `Clock` (or an instant) as an argument, so that a test decides what time it is.
"""

from __future__ import annotations

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
