"""Which days of a month a rule picks.

A month has one of 28 shapes: the weekday it begins with, and 28 to 31 days. What a rule picks depends on
the shape alone, so a rule is worked out once per shape, as a bit mask in which bit `d` stands for day `d`.
Whether a rule ever picks a day at all is then a look at 28 numbers, not a search through a century.

Weekdays count from Monday = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

LAST = 0
"""In the place of a number in `nth`: the last one of the month."""

Masks = tuple[int, ...]

_FIRSTS = range(7)
_LENGTHS = range(28, 32)
_EACH_WEEK = 0b1_0000001_0000001_0000001_0000001


@dataclass(frozen=True, slots=True)
class DaySet:
    """The days that any of these names."""

    numbers: int = 0
    """Bit mask of days of the month."""
    last: bool = False
    """The last day of the month."""
    nearest: int = 0
    """Bit mask of days of the month, of which the weekday nearest to each is meant, within the month."""
    weekdays: int = 0
    """Bit mask of weekdays."""
    nth: frozenset[tuple[int, int]] = frozenset()
    """Pairs of weekday and 1 to 5, or `LAST`."""

    def __or__(self, other: DaySet) -> DaySet:
        return DaySet(
            numbers=self.numbers | other.numbers,
            last=self.last or other.last,
            nearest=self.nearest | other.nearest,
            weekdays=self.weekdays | other.weekdays,
            nth=self.nth | other.nth,
        )


@dataclass(frozen=True, slots=True)
class DayRule:
    """Two sets of days; None is every day."""

    of_month: DaySet | None
    of_week: DaySet | None
    either: bool = False
    """A day in either set matches; otherwise it must be in both."""


def shape_index(first: int, length: int) -> int:
    """Where the masks of a rule hold the month that begins with weekday `first` and has `length` days."""
    return first * 4 + length - 28


@lru_cache(maxsize=4096)
def masks_of(rule: DayRule) -> Masks:
    """The days that `rule` picks in a month of each shape."""
    left, right = (_masks_of_set(days) for days in (rule.of_month, rule.of_week))
    if rule.either:
        return tuple(a | b for a, b in zip(left, right, strict=True))
    return tuple(a & b for a, b in zip(left, right, strict=True))


def _masks_of_set(days: DaySet | None) -> Masks:
    if days is None:
        return _each(lambda _, length: _all(length))
    return _each(lambda first, length: _days_of(days, first, length) & _all(length))


def _each(days: Callable[[int, int], int]) -> Masks:
    return tuple(days(first, length) for first in _FIRSTS for length in _LENGTHS)


def _all(length: int) -> int:
    return (1 << (length + 1)) - 2


def _days_of(days: DaySet, first: int, length: int) -> int:
    mask = days.numbers
    if days.last:
        mask |= 1 << length
    if days.weekdays:
        mask |= _on_weekdays(days.weekdays, first)
    for day in range(1, 32):
        if days.nearest >> day & 1:
            mask |= 1 << _nearest_weekday(day, first, length)
    for weekday, position in days.nth:
        mask |= 1 << _nth_weekday(weekday, position, first, length)
    return mask


def _on_weekdays(weekdays: int, first: int) -> int:
    from_first = (weekdays >> first | weekdays << (7 - first)) & 0b1111111
    return from_first * _EACH_WEEK << 1


def _nth_weekday(weekday: int, position: int, first: int, length: int) -> int:
    """The day; if the month has no such day, a day after its end."""
    earliest = (weekday - first) % 7 + 1
    if position == LAST:
        return earliest + (length - earliest) // 7 * 7
    return earliest + (position - 1) * 7


def _nearest_weekday(day: int, first: int, length: int) -> int:
    day = min(day, length)
    weekday = (first + day - 1) % 7
    if weekday == 5:
        return day - 1 if day > 1 else day + 2
    if weekday == 6:
        return day + 1 if day < length else day - 2
    return day
