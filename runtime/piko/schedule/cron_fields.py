"""Cron as fields: `{"hour": 2, "minute": 30}`, of which all must match.

The grammar is that of APScheduler 3's cron trigger, read strictly: what it would cut off in silence, such
as the step of `mon-fri/2`, is an error here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial

from piko.errors import ScheduleError, did_you_mean
from piko.schedule.month_days import LAST, DayRule, DaySet
from piko.schedule.pattern import FIRST_YEAR, LAST_YEAR, CronPattern, mask_of_years
from piko.schedule.refusal import refusal

FIELDS = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")
"""From the coarsest to the finest."""

LONGEST = 500
"""Characters of one field."""

_WHERE = "cron field"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_POSITIONS = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": LAST}


@dataclass(frozen=True, slots=True)
class _FieldGrammar:
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Names of the values from `low` on."""
    minimum: str | None = None
    """What it is when it is left out and finer than all that are given; None: everything."""
    expected: str = ""


_COMMON = "*, */n, a-b, a-b/n, a/n, or a list of them"
_GRAMMAR = {
    "year": _FieldGrammar(FIRST_YEAR, LAST_YEAR, expected=f"{FIRST_YEAR}-{LAST_YEAR}, {_COMMON}"),
    "month": _FieldGrammar(1, 12, names=_MONTHS, minimum="1", expected=f"1-12, jan-dec, {_COMMON}"),
    "day": _FieldGrammar(1, 31, minimum="1", expected=f"1-31, last, 2nd fri, last fri, {_COMMON}"),
    "week": _FieldGrammar(1, 53, expected=f"1-53, {_COMMON}"),
    "day_of_week": _FieldGrammar(0, 6, names=_WEEKDAYS, expected=f"0-6 (0 is Monday), mon-sun, {_COMMON}"),
    "hour": _FieldGrammar(0, 23, minimum="0", expected=f"0-23, {_COMMON}"),
    "minute": _FieldGrammar(0, 59, minimum="0", expected=f"0-59, {_COMMON}"),
    "second": _FieldGrammar(0, 59, minimum="0", expected=f"0-59, {_COMMON}"),
}

_SEPARATOR = re.compile(r" *, *")
_ALL = re.compile(r"\*(?:/(\d{1,5}))?", re.ASCII)
_RANGE = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(\d{1,5}))?", re.ASCII)
_NAMED = re.compile(r"([a-z]+)(?:-([a-z]+))?", re.ASCII | re.IGNORECASE)
_POSITIONED = re.compile(r"(1st|2nd|3rd|4th|5th|last) +([a-z]+)", re.ASCII | re.IGNORECASE)


def parse_cron_fields(fields: Mapping[str, object]) -> tuple[CronPattern, bool]:
    """What matches, and whether hour and minute are fixed: numbers or lists of numbers.

    Raises `ScheduleError`.
    """
    texts = {name: _text_of(name, value) for name, value in fields.items()}
    if not texts:
        raise refusal(
            "is empty", where="cron", value="{}", expected=f"a cron string, or any of {', '.join(FIELDS)}"
        )
    finest = max(FIELDS.index(name) for name in texts)
    for name in FIELDS[finest + 1 :]:
        texts[name] = _GRAMMAR[name].minimum or "*"
    return _compile(tuple(texts.get(name, "*") for name in FIELDS))


def _text_of(name: str, value: object) -> str:
    if name not in _GRAMMAR:
        raise refusal(
            "is not a cron field",
            where="schedule_expr, key",
            value=name,
            expected=f"any of {', '.join(FIELDS)}",
            remedy=did_you_mean(name, FIELDS).removeprefix("; ")
            or "bounds are the columns start_at and end_at, the zone is the column timezone",
        )
    if isinstance(value, bool) or not isinstance(value, int | str):
        remedy = {type(None): "leave the field out", list: "write a list as a text, such as '1,15'"}.get(
            type(value)
        )
        raise refusal(
            "is neither a whole number nor a text",
            where=f"{_WHERE} {name}",
            value=value,
            expected=_GRAMMAR[name].expected,
            remedy=remedy,
        )
    text = str(value).strip()
    if len(text) > LONGEST:
        raise refusal(
            f"has {len(text)} characters",
            where=f"{_WHERE} {name}",
            value=text,
            expected=f"at most {LONGEST}",
        )
    return text


@lru_cache(maxsize=8192)
def _compile(texts: tuple[str, ...]) -> tuple[CronPattern, bool]:
    by_name = dict(zip(FIELDS, texts, strict=True))
    year, month, week, weekday, hour, minute, second = (
        _parse_field(name, by_name[name]).numbers
        for name in ("year", "month", "week", "day_of_week", "hour", "minute", "second")
    )
    pattern = CronPattern(
        seconds=second,
        minutes=minute,
        hours=hour,
        days=DayRule(of_month=_parse_field("day", by_name["day"]), of_week=DaySet(weekdays=weekday)),
        months=month,
        years=None if by_name["year"] == "*" else year,
        weeks=None if by_name["week"] == "*" else week,
    )
    if not pattern.matches_some_day():
        dated = [f"{name} {by_name[name]!r}" for name in FIELDS[:5] if by_name[name] != "*"]
        raise refusal(
            "never fires: no such day exists",
            where="cron fields",
            value=", ".join(dated),
            expected="fields that all match on some day",
        )
    fixed = not any(sign in by_name["hour"] + by_name["minute"] for sign in "*-/")
    return pattern, fixed


@lru_cache(maxsize=4096)
def _parse_field(name: str, text: str) -> DaySet:
    days = DaySet()
    offset = 0
    for separator in [*_SEPARATOR.finditer(text), None]:
        item = text[offset : separator.start() if separator else None]
        days |= _parse_item(name, item, partial(_item_refusal, name=name, item=item, offset=offset))
        offset = separator.end() if separator else offset
    return days


def _parse_item(name: str, item: str, refuse: Callable[[str], ScheduleError]) -> DaySet:
    field = _GRAMMAR[name]
    if match := _ALL.fullmatch(item):
        return _numbers(name, _stepped(field.low, field.high, match[1], refuse))
    if match := _RANGE.fullmatch(item):
        first = int(match[1])
        last = int(match[2]) if match[2] else (field.high if match[3] else first)
        if first < field.low or last > field.high:
            raise refuse("is out of range")
        return _numbers(name, _stepped(first, last, match[3], refuse))
    if field.names and (match := _NAMED.fullmatch(item)):
        ends = [part.lower() for part in match.groups() if part]
        if not all(end in field.names for end in ends):
            raise refuse("is not a known name")
        first, last = (field.low + field.names.index(end) for end in (ends[0], ends[-1]))
        return _numbers(name, _stepped(first, last, None, refuse))
    if name == "day":
        if item.lower() == "last":
            return DaySet(last=True)
        if (match := _POSITIONED.fullmatch(item)) and match[2].lower() in _WEEKDAYS:
            return DaySet(nth=frozenset({(_WEEKDAYS.index(match[2].lower()), _POSITIONS[match[1].lower()])}))
    raise refuse("is not accepted")


def _numbers(name: str, values: range) -> DaySet:
    return DaySet(numbers=mask_of_years(values) if name == "year" else sum(1 << value for value in values))


def _stepped(first: int, last: int, step: str | None, refuse: Callable[[str], ScheduleError]) -> range:
    if first > last:
        raise refuse("is a range that ends before it begins")
    if step is None:
        return range(first, last + 1)
    if not 1 <= int(step) <= max(1, last - first):
        raise refuse(f"has a step that is not from 1 to {max(1, last - first)}")
    return range(first, last + 1, int(step))


def _item_refusal(what: str, *, name: str, item: str, offset: int) -> ScheduleError:
    return refusal(
        what,
        where=f"{_WHERE} {name} (at character {offset + 1})",
        value=item,
        expected=_GRAMMAR[name].expected,
        remedy="a step goes with numbers, not with names" if "/" in item and item[:1].isalpha() else None,
    )
