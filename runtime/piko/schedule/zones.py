"""What the clocks of a zone do, as segments of one UTC offset each.

`zoneinfo` gives the offset of one instant at a time. Schedules need to know where it changes, so a zone's
timeline is cut into segments within which local time is UTC plus a constant. In front of a segment lies

- a *gap* where its offset is larger than that of the segment before: the wall times between do not exist;
- a *fold* where it is smaller: the wall times between come twice;
- neither, where a segment was merely cut at the end of a chunk.

Seconds are counted from 1970-01-01; there are no segments before it.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from piko.schedule.refusal import refusal

DAY = 86_400

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+)*", re.ASCII)
_LONGEST_NAME = 64
# Each machine has its own, or counts leap seconds: replicas would disagree.
_NOT_THE_SAME_EVERYWHERE = re.compile(r"localtime|posixrules|(?:posix|right)/.*", re.IGNORECASE)

_CHUNK = 366 * DAY
# Two changes that undo each other come no closer than 6.9 days since 1970 (Gaza, 2040).
_PROBE = 4 * DAY
# Local time there is still within what `datetime` can hold.
_LAST_PROBE = (datetime(9999, 12, 30, tzinfo=UTC) - _EPOCH) // timedelta(seconds=1)


class Segment(NamedTuple):
    """From `start` to before `end` (seconds, UTC), local time is UTC plus `offset` seconds."""

    start: int
    end: int
    offset: int


@lru_cache(maxsize=1024)
def load_zone(name: str) -> ZoneInfo:
    """The zone of an IANA name. Raises `ScheduleError`, with the nearest name that exists."""
    usable = (
        isinstance(name, str)
        and len(name) <= _LONGEST_NAME
        and _NAME.fullmatch(name)
        and not _NOT_THE_SAME_EVERYWHERE.fullmatch(name)
    )
    if usable:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # a folder of zones, such as Europe, is an OSError
    raise refusal(
        "is not a known time zone",
        where="timezone",
        value=name,
        expected="an IANA name such as UTC or Asia/Shanghai",
        remedy=_advice(name) if isinstance(name, str) and len(name) <= _LONGEST_NAME else None,
    )


def segment_at(zone: ZoneInfo, second: int) -> Segment:
    """The segment that holds `second`, which must not be negative."""
    starts, segments = _segments(zone, second // _CHUNK)
    return segments[0] if len(segments) == 1 else segments[bisect_right(starts, second) - 1]


def segment_before(zone: ZoneInfo, segment: Segment) -> Segment:
    """The segment that ends where this one starts; the first one is its own predecessor."""
    return segment_at(zone, segment.start - 1) if segment.start > 0 else segment


def instant_of_wall(zone: ZoneInfo, wall: int) -> int:
    """When the clock first shows `wall`, or, where it skips it, when the gap is over."""
    segment = segment_at(zone, max(0, wall - DAY))
    while wall - segment.offset >= segment.end:
        segment = segment_at(zone, segment.end)
        if wall - segment.offset < segment.start:
            return segment.start
    return wall - segment.offset


def changes_between(zone: ZoneInfo, start: int, end: int) -> list[tuple[Segment, Segment]]:
    """The segments before and after each change of the clocks from `start` to before `end`."""
    found = []
    before = segment_at(zone, max(0, start))
    while before.end < end:
        after = segment_at(zone, before.end)
        if after.offset != before.offset:
            found.append((before, after))
        before = after
    return found


@lru_cache(maxsize=4096)
def _segments(zone: ZoneInfo, chunk: int) -> tuple[tuple[int, ...], tuple[Segment, ...]]:
    start, end = chunk * _CHUNK, (chunk + 1) * _CHUNK
    segments = []
    at, offset = start, _offset(zone, start)
    for probe in range(start + _PROBE, end + _PROBE, _PROBE):
        ahead = min(probe, end - 1)
        if (changed := _offset(zone, ahead)) != offset:
            change = _first_change(zone, ahead - _PROBE, ahead, offset)
            segments.append(Segment(at, change, offset))
            at, offset = change, changed
    segments.append(Segment(at, end, offset))
    return tuple(segment.start for segment in segments), tuple(segments)


def _first_change(zone: ZoneInfo, low: int, high: int, offset: int) -> int:
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high


def _offset(zone: ZoneInfo, second: int) -> int:
    local = (_EPOCH + timedelta(seconds=min(second, _LAST_PROBE))).astimezone(zone)
    offset = local.utcoffset() or timedelta(0)
    return offset.days * DAY + offset.seconds


@lru_cache(maxsize=256)
def _advice(name: str) -> str | None:
    near = get_close_matches(name.casefold(), _known_by_folded(), n=1)
    return f"did you mean {_known_by_folded()[near[0]]}?" if near else None


@lru_cache(maxsize=1)
def _known_by_folded() -> dict[str, str]:
    return {known.casefold(): known for known in available_timezones()}
