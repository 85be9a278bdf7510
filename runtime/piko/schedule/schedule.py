"""A schedule: a trigger within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from piko.schedule.instants import FIRST_INSTANT, LAST_INSTANT, to_datetime, to_microseconds
from piko.schedule.triggers import Trigger


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When jobs are due; made by `parse_schedule`.

    Instants go in as aware datetimes of any zone and come out as aware datetimes in UTC. All of them lie
    from 1970 to 9999.
    """

    kind: str
    """`cron`, `interval` or `date`."""
    expression: str
    """The JSON text that it was made from."""
    zone: ZoneInfo
    trigger: Trigger
    start: int = FIRST_INSTANT
    """Microseconds since 1970-01-01 UTC; the first that may fire."""
    end: int = LAST_INSTANT
    """The last that may fire."""
    fires_once: bool = False
    """Whether it is a date: after its instant the schedule is completed, not silent."""
    fingerprint: str
    """Schedules with the same fingerprint have the same instants."""

    def next_after(self, instant: datetime) -> datetime | None:
        """The first instant after `instant`, or None if there is none."""
        found = self._at_or_after(to_microseconds(instant) + 1)
        return None if found is None else to_datetime(found)

    def next_two_after(self, instant: datetime) -> tuple[datetime, datetime] | None:
        """The first two instants after `instant`, or None if there are not as many.

        In half the time of two calls of `next_after`, as the leader asks it for each run.
        """
        first = self._at_or_after(to_microseconds(instant) + 1)
        second = None if first is None else self._at_or_after(first + 1)
        if first is None or second is None:
            return None
        return to_datetime(first), to_datetime(second)

    def latest_at(self, instant: datetime) -> datetime | None:
        """The last instant that is not after `instant`, or None when there was none."""
        found = self._at_or_before(to_microseconds(instant))
        return None if found is None else to_datetime(found)

    def between(self, after: datetime, through: datetime) -> Iterator[datetime]:
        """The instants in `(after, through]`, in order, worked out one by one."""
        last = to_microseconds(through)
        found = self._at_or_after(to_microseconds(after) + 1)
        while found is not None and found <= last:
            yield to_datetime(found)
            found = self._at_or_after(found + 1)

    def unbounded_before(self, instant: datetime) -> datetime | None:
        """The last instant before `instant` that the expression names, whatever the bounds."""
        found = self.trigger.at_or_before(to_microseconds(instant) - 1)
        return None if found is None or found < FIRST_INSTANT else to_datetime(found)

    def _at_or_after(self, instant: int) -> int | None:
        found = self.trigger.at_or_after(max(instant, self.start))
        return None if found is None or found > self.end else found

    def _at_or_before(self, instant: int) -> int | None:
        found = self.trigger.at_or_before(min(instant, self.end))
        return None if found is None or found < self.start else found
