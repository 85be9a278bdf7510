"""The four ways to make instants, and what daylight saving does to each.

Instants are whole microseconds since 1970-01-01 UTC. A trigger knows only the bounds of its own
expression, and returns None if it has no further instant.

Daylight saving, as Debian's cron does it:

- A cron pattern with a *fixed* hour and minute names times of day. Each comes once a day: in the gap at
  the first instant after it, in the fold at the first of the two.
- Any other cron pattern follows *elapsed* time: it matches what clocks show, so it skips what they skip
  and fires in both passes of what they show twice.
- Intervals and dates are instants already; clocks on walls do not touch them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from zoneinfo import ZoneInfo

from piko.schedule.instants import SECOND
from piko.schedule.pattern import NEVER, CronPattern
from piko.schedule.zones import DAY, instant_of_wall, segment_at, segment_before


class Trigger(Protocol):
    """A source of instants, in order."""

    def at_or_after(self, instant: int) -> int | None:
        """The first instant that is not before `instant`."""
        ...

    def at_or_before(self, instant: int) -> int | None:
        """The last instant that is not after `instant`."""
        ...


@dataclass(frozen=True, slots=True)
class ElapsedCron:
    """A cron pattern that follows elapsed time."""

    pattern: CronPattern
    zone: ZoneInfo

    def at_or_after(self, instant: int) -> int | None:
        second = -(-max(instant, 0) // SECOND)
        while True:
            segment = segment_at(self.zone, second)
            wall = self.pattern.at_or_after(second + segment.offset)
            if wall == NEVER:
                return None
            if wall - segment.offset < segment.end:
                return (wall - segment.offset) * SECOND
            # Nothing on the way to `wall` matches, except what a fold at the end of this segment repeats.
            near_the_end = second > segment.end - 2 * DAY
            second = segment.end if near_the_end else max(segment.end, wall - 2 * DAY)

    def at_or_before(self, instant: int) -> int | None:
        second = instant // SECOND
        while second >= 0:
            segment = segment_at(self.zone, second)
            wall = self.pattern.at_or_before(second + segment.offset)
            if wall == NEVER:
                return None
            if wall - segment.offset >= segment.start:
                return (wall - segment.offset) * SECOND
            near_the_start = second < segment.start + 2 * DAY
            second = segment.start - 1 if near_the_start else min(segment.start - 1, wall + 2 * DAY)
        return None


@dataclass(frozen=True, slots=True)
class FixedCron:
    """A cron pattern with a fixed hour and minute: each of its times of day once a day."""

    pattern: CronPattern
    zone: ZoneInfo

    def at_or_after(self, instant: int) -> int | None:
        second = -(-max(instant, 0) // SECOND)
        segment = segment_at(self.zone, second)
        # The clock's time when this segment began, had it not been changed: in a gap, the first time that
        # is skipped and thus due now; in a fold, the first time that has not been shown yet.
        unchanged = segment.start + segment_before(self.zone, segment).offset
        wall = unchanged if second == segment.start else max(unchanged, second + segment.offset)
        found = self.pattern.at_or_after(wall)
        return None if found == NEVER else instant_of_wall(self.zone, found) * SECOND

    def at_or_before(self, instant: int) -> int | None:
        second = instant // SECOND
        if second < 0:
            return None
        segment = segment_at(self.zone, second)
        unchanged = segment.start + segment_before(self.zone, segment).offset
        found = self.pattern.at_or_before(max(unchanged - 1, second + segment.offset))
        return None if found == NEVER else instant_of_wall(self.zone, found) * SECOND


@dataclass(frozen=True, slots=True)
class Interval:
    """Every `period` microseconds, on a grid that goes through `anchor`."""

    period: int
    anchor: int

    def at_or_after(self, instant: int) -> int | None:
        return instant + (self.anchor - instant) % self.period

    def at_or_before(self, instant: int) -> int | None:
        return instant - (instant - self.anchor) % self.period


@dataclass(frozen=True, slots=True)
class Once:
    """One instant."""

    instant: int

    def at_or_after(self, instant: int) -> int | None:
        return self.instant if instant <= self.instant else None

    def at_or_before(self, instant: int) -> int | None:
        return self.instant if instant >= self.instant else None
