"""A cron expression, worked out: which wall times match, in both directions.

Each field is a bit mask, so that the nearest value on either side is a shift and a count of bits. A wall
time is a number of seconds since 1970-01-01 00:00 on the clock of any zone; `triggers` applies the zone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache

from piko.schedule.month_days import DayRule, Masks, masks_of, shape_index

FIRST_YEAR = 1970
LAST_YEAR = 9999
NEVER = -1
"""What a search returns that finds nothing."""

_DAY = 86_400
_EPOCH_ORDINAL = date(FIRST_YEAR, 1, 1).toordinal()
_LAST_DAY = date.max.toordinal() - _EPOCH_ORDINAL
_LENGTHS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_ALL_MONTHS = 0b1_1111_1111_1110
_EVERY_DAY = masks_of(DayRule(of_month=None, of_week=None))


@dataclass(frozen=True, slots=True)
class CronPattern:
    """Bit masks of what matches, bit `n` for the value `n`; every field must match."""

    seconds: int
    minutes: int
    hours: int
    days: DayRule
    months: int = _ALL_MONTHS
    years: int | None = None
    """Bit 0 is 1970; None is every year."""
    weeks: int | None = None
    """ISO weeks; None is every week."""

    masks: Masks = field(init=False, repr=False, compare=False)
    _every_day: bool = field(init=False, repr=False, compare=False)
    _first_time: int = field(init=False, repr=False, compare=False)
    _last_time: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        masks = masks_of(self.days)
        always = (
            masks == _EVERY_DAY and self.months == _ALL_MONTHS and self.years is None and self.weeks is None
        )
        object.__setattr__(self, "masks", masks)
        object.__setattr__(self, "_every_day", always)
        for name, end in (("_first_time", _lowest), ("_last_time", _highest)):
            time = (end(self.hours) * 60 + end(self.minutes)) * 60 + end(self.seconds)
            object.__setattr__(self, name, time)

    def at_or_after(self, wall: int) -> int:
        """The first wall time that matches and is not before `wall`, or `NEVER`."""
        day, second = divmod(max(wall, 0), _DAY)
        found = self._day_at_or_after(day)
        if found == day:
            if (time := self._time_at_or_after(second)) != NEVER:
                return day * _DAY + time
            found = self._day_at_or_after(day + 1)
        return NEVER if found == NEVER else found * _DAY + self._first_time

    def at_or_before(self, wall: int) -> int:
        """The last wall time that matches and is not after `wall`, or `NEVER`."""
        if wall < 0:
            return NEVER
        day, second = divmod(wall, _DAY)
        if day > _LAST_DAY:
            day, second = _LAST_DAY, _DAY - 1
        found = self._day_at_or_before(day)
        if found == day:
            if (time := self._time_at_or_before(second)) != NEVER:
                return day * _DAY + time
            found = self._day_at_or_before(day - 1)
        return NEVER if found == NEVER else found * _DAY + self._last_time

    def count_before(self, wall: int) -> int:
        """How many wall times before `wall` match."""
        if wall <= 0:
            return 0
        day, second = divmod(wall, _DAY)
        if day > _LAST_DAY:
            day, second = _LAST_DAY + 1, 0
        a_day = self.hours.bit_count() * self.minutes.bit_count() * self.seconds.bit_count()
        today = self._times_before(second) if second and self._day_at_or_after(day) == day else 0
        return self._days_before(day) * a_day + today

    def matches_some_day(self) -> bool:
        """Whether any day of any year matches; decided without walking through the years one by one."""
        if self.years is None and self.weeks is None:
            lengths = self._lengths()
            return any(self.masks[shape_index(first, length)] for first in range(7) for length in lengths)
        seen = set()
        for year in self._years():
            # Two years of one kind have the same days and the same weeks.
            kind = (date(year, 1, 1).weekday(), _is_leap(year), _is_leap(year - 1))
            if kind not in seen:
                seen.add(kind)
                if any(self._days(year, month) for month in range(1, 13) if self.months >> month & 1):
                    return True
        return False

    # ---- within a day ----

    def _time_at_or_after(self, second_of_day: int) -> int:
        hour, rest = divmod(second_of_day, 3600)
        if self.hours >> hour & 1:
            minute, second = divmod(rest, 60)
            if self.minutes >> minute & 1 and (ahead := self.seconds >> second):
                return second_of_day + _lowest(ahead)
            if ahead := self.minutes >> (minute + 1):
                return hour * 3600 + (minute + 1 + _lowest(ahead)) * 60 + _lowest(self.seconds)
        if ahead := self.hours >> (hour + 1):
            return (hour + 1 + _lowest(ahead)) * 3600 + _lowest(self.minutes) * 60 + _lowest(self.seconds)
        return NEVER

    def _time_at_or_before(self, second_of_day: int) -> int:
        hour, rest = divmod(second_of_day, 3600)
        if self.hours >> hour & 1:
            minute, second = divmod(rest, 60)
            if self.minutes >> minute & 1 and (behind := self.seconds & ((2 << second) - 1)):
                return hour * 3600 + minute * 60 + _highest(behind)
            if behind := self.minutes & ((1 << minute) - 1):
                return hour * 3600 + _highest(behind) * 60 + _highest(self.seconds)
        if behind := self.hours & ((1 << hour) - 1):
            return _highest(behind) * 3600 + _highest(self.minutes) * 60 + _highest(self.seconds)
        return NEVER

    def _times_before(self, second_of_day: int) -> int:
        hour, rest = divmod(second_of_day, 3600)
        minute, second = divmod(rest, 60)
        hours, minutes = self.hours & ((1 << hour) - 1), self.minutes & ((1 << minute) - 1)
        seconds = self.seconds & ((1 << second) - 1)
        an_hour, a_minute = self.minutes.bit_count() * self.seconds.bit_count(), self.seconds.bit_count()
        count = hours.bit_count() * an_hour
        if self.hours >> hour & 1:
            count += minutes.bit_count() * a_minute
            count += seconds.bit_count() if self.minutes >> minute & 1 else 0
        return count

    # ---- from day to day; a day is a number of days since 1970-01-01 ----

    def _day_at_or_after(self, day: int) -> int:
        if day > _LAST_DAY:
            return NEVER
        if self._every_day:
            return day
        start = date.fromordinal(day + _EPOCH_ORDINAL)
        if ahead := self._days(start.year, start.month) >> start.day:
            return day + _lowest(ahead)
        year, month = start.year, start.month
        while True:
            if later := self.months >> (month + 1):
                month += 1 + _lowest(later)
            else:
                year, month = self._year_at_or_after(year + 1), _lowest(self.months)
                if year == NEVER:
                    return NEVER
            if days := self._days(year, month):
                return date(year, month, _lowest(days)).toordinal() - _EPOCH_ORDINAL

    def _day_at_or_before(self, day: int) -> int:
        if day < 0:
            return NEVER
        if self._every_day:
            return day
        start = date.fromordinal(day + _EPOCH_ORDINAL)
        if behind := self._days(start.year, start.month) & ((2 << start.day) - 1):
            return day + _highest(behind) - start.day
        year, month = start.year, start.month
        while True:
            if earlier := self.months & ((1 << month) - 1):
                month = _highest(earlier)
            else:
                year, month = self._year_at_or_before(year - 1), _highest(self.months)
                if year == NEVER:
                    return NEVER
            if days := self._days(year, month):
                return date(year, month, _highest(days)).toordinal() - _EPOCH_ORDINAL

    def _days_before(self, day: int) -> int:
        if self._every_day or day <= 0:
            return max(day, 0)
        end = date.fromordinal(day - 1 + _EPOCH_ORDINAL)  # the last that counts
        count = sum(self._days_of_year(year) for year in range(FIRST_YEAR, end.year))
        for month in range(1, end.month):
            count += self._days(end.year, month).bit_count()
        return count + (self._days(end.year, end.month) & ((2 << end.day) - 1)).bit_count()

    def _days_of_year(self, year: int) -> int:
        return _days_of_year(self, year)

    def _days(self, year: int, month: int) -> int:
        if not self.months >> month & 1 or (
            self.years is not None and not self.years >> (year - FIRST_YEAR) & 1
        ):
            return 0
        length = 29 if month == 2 and _is_leap(year) else _LENGTHS[month]
        days = self.masks[shape_index(date(year, month, 1).weekday(), length)]
        return days if self.weeks is None else days & _days_in_weeks(self.weeks, year, month, length)

    def _year_at_or_after(self, year: int) -> int:
        if self.years is None:
            return year if year <= LAST_YEAR else NEVER
        ahead = self.years >> (year - FIRST_YEAR)
        return year + _lowest(ahead) if ahead else NEVER

    def _year_at_or_before(self, year: int) -> int:
        if year < FIRST_YEAR or self.years is None:
            return year if year >= FIRST_YEAR else NEVER
        behind = self.years & ((2 << (year - FIRST_YEAR)) - 1)
        return FIRST_YEAR + _highest(behind) if behind else NEVER

    def _years(self) -> Iterator[int]:
        year = self._year_at_or_after(FIRST_YEAR)
        while year != NEVER:
            yield year
            year = self._year_at_or_after(year + 1)

    def _lengths(self) -> set[int]:
        lengths = {_LENGTHS[month] for month in range(1, 13) if self.months >> month & 1}
        return lengths | {29} if 28 in lengths else lengths


def mask_of_years(years: Iterator[int] | range) -> int:
    """The bit mask of `years`, each from 1970 to 9999."""
    mask = 0
    for year in years:
        mask |= 1 << (year - FIRST_YEAR)
    return mask


@lru_cache(maxsize=16_384)
def _days_of_year(pattern: CronPattern, year: int) -> int:
    return sum(pattern._days(year, month).bit_count() for month in range(1, 13))


@lru_cache(maxsize=4096)
def _days_in_weeks(weeks: int, year: int, month: int, length: int) -> int:
    return sum(1 << d for d in range(1, length + 1) if weeks >> date(year, month, d).isocalendar().week & 1)


def _is_leap(year: int) -> bool:
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


def _lowest(mask: int) -> int:
    return (mask & -mask).bit_length() - 1


def _highest(mask: int) -> int:
    return mask.bit_length() - 1
