"""Cron patterns and lengths of time in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

from piko.schedule.instants import SECOND
from piko.schedule.month_days import LAST, DayRule, DaySet
from piko.schedule.pattern import FIRST_YEAR, CronPattern

_MONTHS = (
    *("", "January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_POSITIONS = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", LAST: "last"}
_EVERY_WEEKDAY = 0b111_1111
_EVERY_DAY = 2**32 - 2
_MOST_TIMES = 6
_UNITS = (("week", 604_800), ("day", 86_400), ("hour", 3600), ("minute", 60))


def cron_in_words(pattern: CronPattern) -> str:
    """When `pattern` matches, without the zone."""
    parts = [_time(pattern), _days(pattern.days)]
    if (months := values_of(pattern.months)) != list(range(1, 13)):
        parts.append(f"in {_runs(months, _MONTHS)}")
    if pattern.weeks is not None:
        parts.append(f"in ISO week {_runs(values_of(pattern.weeks))}")
    if pattern.years is not None:
        parts.append(f"in {_years(pattern.years)}")
    return " ".join(part for part in parts if part)


def length_in_words(microseconds: int) -> str:
    """`1 hour 30 minutes`."""
    seconds, fraction = divmod(microseconds, SECOND)
    words = []
    for name, size in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            words.append(_counted(str(count), name))
    if seconds or fraction:
        exact = f"{seconds}.{fraction:06d}".rstrip("0") if fraction else str(seconds)
        words.append(_counted(exact, "second"))
    return " ".join(words)


def values_of(mask: int) -> list[int]:
    """The values whose bits are set."""
    return [value for value in range(mask.bit_length()) if mask >> value & 1]


def joined(parts: Sequence[str], last: str = "and") -> str:
    """`a, b and c`."""
    return f" {last} ".join((", ".join(parts[:-1]), parts[-1])) if len(parts) > 1 else "".join(parts)


def _time(pattern: CronPattern) -> str:
    seconds, minutes, hours = (values_of(m) for m in (pattern.seconds, pattern.minutes, pattern.hours))
    if len(seconds) * len(minutes) * len(hours) <= _MOST_TIMES:
        shown = "{:02}:{:02}" if seconds == [0] else "{:02}:{:02}:{:02}"
        return f"at {joined([shown.format(*time) for time in product(hours, minutes, seconds)])}"
    within = [
        _of_sixty(seconds, "second") if seconds != [0] else "",
        _of_sixty(minutes, "minute") if len(minutes) < 60 or seconds == [0] else "",
        _of_day(hours, alone=len(minutes) == 60 or _step(minutes, 60) is not None),
    ]
    return " ".join(part for part in within if part)


def _of_sixty(values: list[int], unit: str) -> str:
    step = _step(values, 60)
    if step is not None:
        return f"every {unit}" if step == 1 else f"every {step} {unit}s"
    return f"at {unit} {_runs(values)}"


def _of_day(hours: list[int], *, alone: bool) -> str:
    if len(hours) == 24:
        return "" if alone else "of every hour"
    step = _step(hours, 24)
    if step is not None:
        ordinal = {2: "2nd", 3: "3rd"}.get(step, f"{step}th")
        return f"{'in' if alone else 'of'} every {ordinal} hour"
    return f"{'in' if alone else 'of'} {'hour' if len(hours) == 1 else 'the hours'} {_runs(hours)}"


def _step(values: list[int], cycle: int) -> int | None:
    """The distance of values that divide the cycle evenly from 0 on."""
    if len(values) < 2 or cycle % len(values):
        return None
    step = cycle // len(values)
    return step if values == list(range(0, cycle, step)) else None


def _days(rule: DayRule) -> str:
    sides = [side for side in (rule.of_month, rule.of_week) if side is not None and not _is_every_day(side)]
    words = [f"on {joined(_names(side), 'or' if side.weekdays == 0 else 'and')}" for side in sides]
    return (" or " if rule.either else ", and only ").join(words)


def _is_every_day(days: DaySet) -> bool:
    return days.numbers == _EVERY_DAY or days.weekdays == _EVERY_WEEKDAY


def _names(days: DaySet) -> list[str]:
    names = []
    if days.numbers:
        names.append(f"day {_runs(values_of(days.numbers))} of the month")
    names += [f"the weekday nearest to day {day}" for day in values_of(days.nearest)]
    if days.last:
        names.append("the last day of the month")
    if days.weekdays:
        names.append(_runs(values_of(days.weekdays), _WEEKDAYS))
    names += [f"the {_POSITIONS[n]} {_WEEKDAYS[day]} of the month" for day, n in sorted(days.nth)]
    return names


def _years(years: int) -> str:
    found = [FIRST_YEAR + year for year in values_of(years)]
    if len(found) > 20 and found[-1] - found[0] >= len(found):
        return f"{joined([str(year) for year in found[:3]])} and so on until {found[-1]}"
    return _runs(found)


def _runs(values: Iterable[int], names: Sequence[str] | None = None) -> str:
    """`1, 3 to 5 and 8`."""
    runs: list[list[int]] = []
    for value in values:
        if runs and runs[-1][-1] == value - 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts: list[str] = []
    for run in runs:
        ends = [names[value] if names else str(value) for value in run]
        parts += [f"{ends[0]} to {ends[-1]}"] if len(ends) > 2 else ends
    return joined(parts)


def _counted(count: str, unit: str) -> str:
    return f"{count} {unit}" if count == "1" else f"{count} {unit}s"
