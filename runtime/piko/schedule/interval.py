"""Intervals: `{"seconds": 10}`, units summed, or `{"every": "1d12h"}`, on a grid that never moves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from zoneinfo import ZoneInfo

from piko.errors import did_you_mean
from piko.schedule.instants import SECOND, parse_instant
from piko.schedule.refusal import refusal
from piko.schedule.triggers import Interval

SHORTEST = SECOND // 10
"""0.1 s."""
LONGEST = 36_500 * 86_400 * SECOND
"""36,500 days."""

_UNITS = {
    "weeks": 7 * 86_400 * SECOND,
    "days": 86_400 * SECOND,
    "hours": 3600 * SECOND,
    "minutes": 60 * SECOND,
    "seconds": SECOND,
}
_SHORT_UNITS = {"ms": SECOND // 1000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND, "d": 86_400 * SECOND}
BOUNDS = ("start_date", "end_date")
_DURATION = re.compile(r"(?=.)(?:\d+d)?(?:\d+(?:\.\d+)?(?:ms|s|m|h))*", re.ASCII)
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_LONGEST_DURATION = 64
_LENGTH = "an interval from 0.1 s to 36,500 days"
_FORMS = '{"seconds": 10}, with any of weeks, days, hours, minutes, seconds, or {"every": "10s"}'


@dataclass(frozen=True, slots=True)
class BoundedInterval:
    """An interval, and the bounds that its own expression sets; both are included."""

    trigger: Interval
    start: int | None
    end: int | None


def parse_interval(expression: Mapping[str, object], *, zone: ZoneInfo) -> BoundedInterval:
    """The interval of a JSON object. Raises `ScheduleError`."""
    for key in expression:
        if key not in _UNITS and key not in BOUNDS and key != "every":
            raise refusal(
                "is not a part of an interval",
                where="schedule_expr, key",
                value=key,
                expected=", ".join((*_UNITS, "every", *BOUNDS)),
                remedy=did_you_mean(key, (*_UNITS, "every", *BOUNDS)).removeprefix("; ") or None,
            )
    units = [key for key in _UNITS if key in expression]
    if ("every" in expression) == bool(units):
        found = "both every and units" if units else "no length"
        raise refusal(f"has {found}", where="interval", value=_keys(expression), expected=_FORMS)
    if units:
        period = sum(_in_unit(key, expression[key]) for key in units)
        where, value = "interval", ", ".join(f"{key} {expression[key]}" for key in units)
    else:
        period = _parse_duration(expression["every"])
        where, value = "interval, every", str(expression["every"])
    if not SHORTEST <= period <= LONGEST:
        what = "is zero" if period == 0 else "is too short" if period < SHORTEST else "is too long"
        raise refusal(what, where=where, value=value, expected=_LENGTH)
    start, end = (
        parse_instant(expression[key], where=f"interval, {key}", zone=zone) if key in expression else None
        for key in BOUNDS
    )
    # Where the grid is anchored counts only up to a period.
    return BoundedInterval(Interval(period=period, anchor=(start or 0) % period), start, end)


def _keys(expression: Mapping[str, object]) -> str:
    return ", ".join(expression) or "{}"


def _in_unit(unit: str, value: object) -> int:
    where = f"interval, {unit}"
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise refusal("is not a number", where=where, value=value, expected="a number, such as 10")
    if not 0 <= value <= LONGEST:
        what = "is negative" if value < 0 else "is too long"
        raise refusal(what, where=where, value=value, expected=_LENGTH)
    length = Decimal(value) * _UNITS[unit]
    if unit != "seconds" and value % 1:
        seconds = (length / SECOND).normalize()
        raise refusal(
            "is a fraction",
            where=where,
            value=value,
            expected="a whole number; only seconds may have a fraction",
            remedy=f'write {{"seconds": {seconds:f}}}' if length % 1 == 0 else None,
        )
    if length % 1:
        raise refusal(
            "is finer than a microsecond", where=where, value=value, expected="at most six decimals"
        )
    return int(length)


def _parse_duration(value: object) -> int:
    where = "interval, every"
    if not (isinstance(value, str) and len(value) <= _LONGEST_DURATION and _DURATION.fullmatch(value)):
        raise refusal(
            "is not a duration",
            where=where,
            value=value,
            expected="whole days with d, then numbers with ms, s, m or h, such as 10s, 1h30m or 1d12h",
            remedy='for weeks write {"weeks": 1}',
        )
    parts = _DURATION_PART.findall(value)
    length = sum((Decimal(number) * _SHORT_UNITS[unit] for number, unit in parts), Decimal(0))
    if length <= LONGEST and length % 1:
        raise refusal(
            "is finer than a microsecond", where=where, value=value, expected="at most six decimals"
        )
    return int(length)
