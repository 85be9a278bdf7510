"""Instants as integers, and as people write them.

Inside this package an instant is a whole number of microseconds since 1970-01-01 UTC: integers neither
overflow nor round. Only what enters and what leaves is a `datetime`.

A wall time is what a clock on the wall of some zone shows, as a number of the same kind that leaves the
zone out.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from piko.schedule.refusal import refusal
from piko.schedule.zones import instant_of_wall

SECOND = 1_000_000
"""Microseconds in a second."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_ORDINAL = EPOCH.toordinal()

FIRST_INSTANT = 0
"""No schedule fires before 1970."""
LAST_INSTANT = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
"""No schedule fires after the year 9999, where `datetime` ends."""

_WRITTEN = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)"
    r"(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,6}))?)?(?:([Zz])|([+-])(\d\d):(\d\d))?)?",
    re.ASCII,
)
_EXPECTED = "an instant such as 2026-01-08 10:00:00 (in the schedule's zone) or 2026-01-08T10:00:00+08:00"


def to_microseconds(instant: datetime) -> int:
    """An aware `datetime` of any zone as an instant. Raises `TypeError` when it is naive."""
    since = instant - EPOCH
    return (since.days * 86_400 + since.seconds) * SECOND + since.microseconds


def to_datetime(instant: int) -> datetime:
    """An instant from 1970 to 9999 as an aware `datetime` in UTC."""
    return EPOCH + timedelta(microseconds=instant)


def parse_instant(value: object, *, where: str, zone: ZoneInfo) -> int:
    """What a person wrote as an instant; without an offset it is a wall time in `zone`.

    A wall time that daylight saving skips means the first instant after the gap; one that comes twice
    means the first. Raises `ScheduleError`.
    """
    match = _WRITTEN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise refusal("is not an instant", where=where, value=value, expected=_EXPECTED)
    year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
    offset_hours, offset_minutes = int(match[10] or 0), int(match[11] or 0)
    try:
        days = date(year, month, day).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise refusal(
            "names a day that does not exist", where=where, value=value, expected=_EXPECTED
        ) from None
    if hour > 23 or minute > 59 or second > 59 or offset_hours > 23 or offset_minutes > 59:
        raise refusal("names a time that does not exist", where=where, value=value, expected=_EXPECTED)
    wall = days * 86_400 + hour * 3600 + minute * 60 + second
    if match[9]:
        offset = offset_hours * 3600 + offset_minutes * 60
        seconds = wall + offset if match[9] == "-" else wall - offset
    else:
        seconds = wall if match[8] else instant_of_wall(zone, wall)
    instant = seconds * SECOND + int((match[7] or "").ljust(6, "0"))
    if not FIRST_INSTANT <= instant <= LAST_INSTANT:
        raise refusal(
            "is out of range", where=where, value=value, expected="an instant from 1970 to 9999, in UTC"
        )
    return instant
