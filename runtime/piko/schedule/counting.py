"""How many instants a schedule has in a range, and which is the n-th from its end, by arithmetic.

A schedule that fires each second has thirty million instants a year, and a job may be years behind, so
nothing walks through them. Those of an interval are counted by a division, those of a cron pattern in each
stretch of constant UTC offset, where a wall time is an instant and matching days are bits of a month's mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from piko.schedule.instants import SECOND, to_datetime, to_microseconds
from piko.schedule.schedule import Schedule
from piko.schedule.triggers import ElapsedCron, FixedCron, Interval, Once, Trigger
from piko.schedule.zones import Segment, segment_at, segment_before

_WALKED = 32
"""Ranges with fewer instants than this are walked through, which is quicker."""


def count_instants(schedule: Schedule, *, after: datetime, through: datetime) -> int:
    """How many instants `schedule` has in `(after, through]`, exactly."""
    return _count(schedule, to_microseconds(after), to_microseconds(through))


def latest_but(schedule: Schedule, skipped: int, *, at: datetime) -> datetime | None:
    """The instant with `skipped` others between it and `at`, or None; 0 gives the last one by `at`."""
    last = to_microseconds(at)
    found = schedule.latest_at(at)
    if isinstance(schedule.trigger, Interval) and found is not None:
        instant = to_microseconds(found) - skipped * schedule.trigger.period
        return to_datetime(instant) if instant >= schedule.start else None
    if found is None or _count(schedule, schedule.start - 1, last) <= skipped:
        return None
    # More than `skipped` lie after `low`, and no more than that after `high`.
    low, high = schedule.start - 1, to_microseconds(found)
    while high - low > 1:
        middle = (low + high) // 2
        if _count(schedule, middle, last) > skipped:
            low = middle
        else:
            high = middle
    return to_datetime(high)


def _count(schedule: Schedule, after: int, through: int) -> int:
    first, last = max(after + 1, schedule.start), min(through, schedule.end)
    return 0 if first > last else _count_within(schedule.trigger, first, last)


def _count_within(trigger: Trigger, first: int, last: int) -> int:
    """The instants of `trigger` in `[first, last]`."""
    match trigger:
        case Interval(period=period, anchor=anchor):
            return (last - anchor) // period - (first - 1 - anchor) // period
        case Once(instant=instant):
            return int(first <= instant <= last)
        case ElapsedCron() | FixedCron():
            return _count_cron(trigger, -(-first // SECOND), last // SECOND)
        case _:
            raise TypeError(f"{type(trigger).__name__} is no trigger that can be counted")


def _count_cron(trigger: ElapsedCron | FixedCron, first: int, last: int) -> int:
    """The instants in `[first, last]`, in seconds: few by walking, many stretch by stretch."""
    walked = list(islice(_walk(trigger, first, last), _WALKED))
    if len(walked) < _WALKED:
        return len(walked)
    second, count = walked[-1] + 1 if walked else first, len(walked)
    while second <= last:
        segment = segment_at(trigger.zone, second)
        end = min(segment.end, last + 1)
        count += _count_segment(trigger, segment, second, end)
        second = end
    return count


def _walk(trigger: Trigger, first: int, last: int) -> Iterator[int]:
    found = trigger.at_or_after(first * SECOND)
    while found is not None and found <= last * SECOND:
        yield found // SECOND
        found = trigger.at_or_after(found + 1)


def _count_segment(trigger: ElapsedCron | FixedCron, segment: Segment, start: int, end: int) -> int:
    """The instants of `[start, end)`, which lies within `segment`."""
    pattern, first, last = trigger.pattern, start + segment.offset, end + segment.offset
    if isinstance(trigger, ElapsedCron):
        return pattern.count_before(last) - pattern.count_before(first)
    # What the clocks skip is due as the segment begins; what they have shown before is not due again.
    unchanged = segment.start + segment_before(trigger.zone, segment).offset
    begin = segment.start + segment.offset
    skipped = 0
    if start == segment.start and unchanged < begin:
        skipped = int(pattern.count_before(begin + 1) > pattern.count_before(unchanged))
        first = begin + 1
    first = max(first, unchanged)
    return skipped + (pattern.count_before(last) - pattern.count_before(first) if first < last else 0)
