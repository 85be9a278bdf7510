"""Cron strings: five fields, or six with seconds first, or a name such as `@hourly`.

croniter parses the fields. Piko does three things itself:

- each item of each field is read by itself, so that an error can name its place, and so that the many
  items that many schedules share are read once;
- `H` is spread by a hash of the job's id, and never onto a day that some months lack; `R`, which would
  differ from replica to replica, is refused;
- `5-5` is 5. croniter widens it to the whole field.

croniter's own iterator is not used: it lets `#` and `L5` intersect with the day of the month where either
should match, then looks for such a day through fifty years, and fires twice in the fold of autumn.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from croniter import croniter
from croniter.croniter import CroniterError

from piko.errors import ScheduleError
from piko.schedule.hashing import hashed_below
from piko.schedule.month_days import LAST, DayRule, DaySet
from piko.schedule.pattern import CronPattern
from piko.schedule.refusal import refusal

LONGEST = 1000
"""Characters of a cron string."""

NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_WHERE = "cron string"
_EXPECTED = "five fields (minute, hour, day of month, month, day of week), six with seconds first, or @hourly"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    column: int
    """The place where croniter wants it."""
    low: int
    high: int
    highest_hashed: int
    expected: str


_COMMON = "*, a-b, */n, a-b/n, H, or a list of them"
_MINUTE = _Field("minute", 0, 0, 59, 59, f"0-59, {_COMMON}")
_HOUR = _Field("hour", 1, 0, 23, 23, f"0-23, {_COMMON}")
_DAY = _Field("day of month", 2, 1, 31, 28, f"1-31, L, 15W, ?, {_COMMON}")
_MONTH = _Field("month", 3, 1, 12, 12, f"1-12, jan-dec, {_COMMON}")
_WEEKDAY = _Field("day of week", 4, 0, 6, 6, f"0-7 (0 and 7 are Sunday), sun-sat, 1#2, L5, ?, {_COMMON}")
_SECOND = _Field("second", 5, 0, 59, 59, f"0-59, {_COMMON}")
_FIVE = (_MINUTE, _HOUR, _DAY, _MONTH, _WEEKDAY)
_SIX = (_SECOND, *_FIVE)

_BLANKS = " \t\n\r\f\v"
_TOKEN = re.compile(r"\S+", re.ASCII)
_ITEM = re.compile(r"[0-9A-Za-z*/?#-]+", re.ASCII)
_HASHED = re.compile(r"H(?:\((\d{1,4})-(\d{1,4})\))?(?:/(\d{1,4}))?", re.ASCII | re.IGNORECASE)
_RANDOM = re.compile(r"R(?:\(.*\))?(?:/.*)?", re.ASCII | re.IGNORECASE)
_ONE_VALUE_RANGE = re.compile(r"([^-/]+)-\1(?:/[1-9]\d*)?", re.ASCII | re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"([0-7])L", re.ASCII | re.IGNORECASE)
_ZONE = re.compile(r"(?:CRON_)?TZ=[\"']?([^\s\"']*)[\"']?\s*", re.IGNORECASE)
_NEAREST = re.compile(r"(\d{1,2})W|W(\d{1,2})", re.ASCII | re.IGNORECASE)


def parse_cron_string(text: str, *, job_id: str) -> tuple[CronPattern, bool]:
    """What matches, and whether hour and minute are fixed.

    They are fixed when both are numbers or lists of numbers: no `*`, no range, no step. Raises
    `ScheduleError`.
    """
    if len(text) > LONGEST:
        raise refusal(f"has {len(text)} characters", where=_WHERE, value=text, expected=f"at most {LONGEST}")
    name = text.strip(_BLANKS)
    if not name:
        raise refusal("is empty", where=_WHERE, value=text, expected=_EXPECTED)
    if zone := _ZONE.match(name):
        raise refusal(
            "names a time zone",
            where=_WHERE,
            value=text,
            expected=_EXPECTED,
            remedy=f"the zone has a place of its own: timezone = {zone[1]!r} (timeZone in a resource), "
            f"and the expression {name[zone.end() :].strip()!r}",
        )
    tokens = list(_TOKEN.finditer(_by_name(name) if name.startswith("@") else text))
    if len(tokens) not in (5, 6):
        raise refusal(f"has {len(tokens)} fields", where=_WHERE, value=text, expected=_EXPECTED)
    described = _SIX if len(tokens) == 6 else _FIVE
    texts = [
        _written_out(token[0], field=field, job_id=job_id, at=token.start() + 1)
        for token, field in zip(tokens, described, strict=True)
    ]
    if len(texts) == 5:
        texts.insert(0, "0")
    try:
        return _compile(tuple(texts))
    except _ItemError as error:
        number = next(n for n, field in enumerate(described) if field is error.field)
        # What H stands for is right by construction, so the item stands in the text as it was written.
        at = tokens[number].start() + 1 + error.offset
        raise _item_refusal(error.item, field=error.field, at=at) from None


class _ItemError(ScheduleError):
    def __init__(self, field: _Field, item: str, offset: int) -> None:
        super().__init__(item)
        self.field, self.item, self.offset = field, item, offset


def _by_name(text: str) -> str:
    try:
        return NAMES[text.lower()]
    except KeyError:
        remedy = (
            'for a fixed distance use schedule_type "interval"' if text.lower().startswith("@every") else None
        )
        raise refusal(
            "is not a known name", where=_WHERE, value=text, expected=", ".join(NAMES), remedy=remedy
        ) from None


@lru_cache(maxsize=8192)
def _compile(texts: tuple[str, ...]) -> tuple[CronPattern, bool]:
    second, minute, hour, day, month, weekday = texts
    seconds, minutes, hours, months = (
        _parse_field(text, field).numbers
        for text, field in ((second, _SECOND), (minute, _MINUTE), (hour, _HOUR), (month, _MONTH))
    )
    of_month, of_week = _parse_field(day, _DAY), _parse_field(weekday, _WEEKDAY)
    # As in Debian's cron: a field that begins with a star says nothing, even where it is `*/2`, and then
    # both must match.
    either = not (day.startswith(("*", "?")) or weekday.startswith(("*", "?")))
    days = DayRule(of_month=of_month, of_week=of_week, either=either)
    pattern = CronPattern(seconds=seconds, minutes=minutes, hours=hours, days=days, months=months)
    if not pattern.matches_some_day():
        raise refusal(
            "never fires: no such day exists",
            where=_WHERE,
            value=" ".join(texts[1:]),
            expected="a day of month, month and day of week that occur together",
            remedy=f"change day of month {day!r}, month {month!r} or day of week {weekday!r}",
        )
    fixed = not any(sign in hour + minute for sign in "*-/")
    return pattern, fixed


@lru_cache(maxsize=4096)
def _parse_field(text: str, field: _Field) -> DaySet:
    days = DaySet()
    offset = 0
    for item in text.split(","):
        found = _parse_item(item, field)
        if found is None or ("?" in item and text != "?"):
            raise _ItemError(field, item, offset)
        days |= found
        offset += len(item) + 1
    return days


@lru_cache(maxsize=4096)
def _parse_item(item: str, field: _Field) -> DaySet | None:
    """The values of one item, weekdays as such and everything else as `numbers`; None where it has none."""
    if not _ITEM.fullmatch(item) or _RANDOM.fullmatch(item) or _HASHED.fullmatch(item):
        return None
    if field is _DAY and (match := _NEAREST.fullmatch(item)):
        day = int(match[1] or match[2])
        return DaySet(nearest=1 << day) if 1 <= day <= 31 else None
    if field is _WEEKDAY and (match := _LAST_WEEKDAY.fullmatch(item)):
        item = f"L{match[1]}"
    if match := _ONE_VALUE_RANGE.fullmatch(item):
        item = match[1]
    columns = ["*"] * 6
    columns[field.column] = item
    try:
        expanded, nth = croniter.expand(" ".join(columns))
    except CroniterError:
        return None
    values = expanded[field.column]
    if field is not _WEEKDAY:
        return DaySet(numbers=_mask(values, field), last="l" in values)
    if nth:
        return DaySet(nth=frozenset(_nth(day, position) for day in nth for position in nth[day]))
    sundays_first = _mask(values, field)
    return DaySet(weekdays=sundays_first >> 1 | (sundays_first & 1) << 6)


def _mask(values: Sequence[object], field: _Field) -> int:
    numbers = range(field.low, field.high + 1) if "*" in values else values
    return sum(1 << number for number in numbers if isinstance(number, int))


def _nth(day: object, position: object) -> tuple[int, int]:
    assert isinstance(day, int)
    return (day + 6) % 7, position if isinstance(position, int) else LAST


def _written_out(text: str, *, field: _Field, job_id: str, at: int) -> str:
    """`text` with `H` replaced by what it stands for in this job."""
    match = _HASHED.fullmatch(text)
    if match is None:
        return text
    low, high = (field.low, field.highest_hashed) if match[1] is None else (int(match[1]), int(match[2]))
    step = int(match[3]) if match[3] else None
    if not field.low <= low < high <= field.high or step == 0:
        raise _item_refusal(text, field=field, at=at)
    salt = f"H\0{field.name}\0{job_id}"
    if step is None:
        return str(low + hashed_below(high - low + 1, salt=salt))
    first = low + hashed_below(min(step, high - low + 1), salt=salt)
    # A single value with a step would read as one value; it stays a step, so that it keeps real time.
    return f"{first}-{high}/{step}" if first < high else f"{first}-{first}/{step}"


def _item_refusal(item: str, *, field: _Field, at: int) -> ScheduleError:
    remedy = None
    if _RANDOM.fullmatch(item):
        remedy = "R differs from replica to replica; write H, which is spread by job"
    return refusal(
        "is not accepted",
        where=f"{_WHERE}, {field.name} (at character {at})",
        value=item,
        expected=field.expected,
        remedy=remedy,
    )
