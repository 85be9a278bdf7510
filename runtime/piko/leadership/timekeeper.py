"""Corrects a replica's clock to the database's, so that it is not ahead of it.

The database is asked for its time, and the machine's clock is read before and after. The answer was given at
some moment between the two, so the machine is ahead by something between two bounds. A machine's clock that
may be right counts as right, and a correction that lies within the bounds is kept: a quicker round trip gave
it. Otherwise the answer is taken for the present: a start may then be late by the round trip, but not early.
"""

from __future__ import annotations

from datetime import timedelta

from piko.clock import DatabaseClock
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.leases import LeaseStore

WARN_ABOVE_S = 1.0
"""Seconds of difference from which a wrong clock is logged."""
_ROUNDING_S = 5e-6
_RESOLUTION_S = 0.002
"""Seconds by which a correction may be late before it is made smaller: SQLite gives milliseconds."""

log = get_logger(__name__)


class Timekeeper:
    """Measures the offset of the machine's clock, and corrects `clock` by it."""

    def __init__(self, *, leases: LeaseStore, clock: DatabaseClock, metrics: Metrics, every_s: float) -> None:
        self._leases = leases
        self._clock = clock
        self._metrics = metrics
        self._every_s = every_s
        self._measured_at = float("-inf")
        self._warned_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the last measurement is old."""
        return self._clock.monotonic() - self._measured_at >= self._every_s

    async def measure(self) -> None:
        """Ask the database what time it is. Raises `DatabaseUnavailableError`."""
        clock = self._clock
        asked_at, moment, answered_at = await self._leases.now(clock.monotonic)
        answered = clock.machine_now() - timedelta(seconds=clock.monotonic() - answered_at)
        most_s = (answered - moment).total_seconds()
        least_s = most_s - (answered_at - asked_at)
        if least_s - _ROUNDING_S <= clock.machine_ahead_s <= most_s + _RESOLUTION_S:
            moment = answered - timedelta(seconds=clock.machine_ahead_s)
        clock.is_at(moment, machine=answered, monotonic=answered_at)
        self._measured_at = answered_at
        self._metrics.clock_offset.set(clock.machine_ahead_s)
        self._log_offset()

    def _log_offset(self) -> None:
        ahead_s = self._clock.machine_ahead_s
        if abs(ahead_s) > WARN_ABOVE_S and abs(ahead_s - self._warned_s) > WARN_ABOVE_S:
            log.warning(
                "clock_is_off",
                ahead_s=round(ahead_s, 3),
                hint="this machine's clock differs from the database's, which decides what is due; "
                "synchronize both with one NTP server",
            )
            self._warned_s = ahead_s
        elif abs(ahead_s) <= WARN_ABOVE_S < abs(self._warned_s):
            log.info("clock_is_right_again", ahead_s=round(ahead_s, 3))
            self._warned_s = 0.0
