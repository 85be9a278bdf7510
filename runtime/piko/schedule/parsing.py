"""From the columns of a row to a schedule."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import NoReturn, Protocol
from zoneinfo import ZoneInfo

from piko.schedule.cron_fields import parse_cron_fields
from piko.schedule.cron_string import parse_cron_string
from piko.schedule.hashing import fingerprint_of
from piko.schedule.instants import FIRST_INSTANT, LAST_INSTANT, parse_instant, to_datetime, to_microseconds
from piko.schedule.interval import parse_interval
from piko.schedule.pattern import CronPattern
from piko.schedule.refusal import refusal
from piko.schedule.schedule import Schedule
from piko.schedule.triggers import ElapsedCron, FixedCron, Once, Trigger
from piko.schedule.zones import load_zone
from piko.text import instant_text

LONGEST_EXPRESSION = 4000
"""Characters of `schedule_expr`."""

_MOST_SHARED = 16_384
"""Schedules that are kept for the next row that says the same."""

_TYPES = ("cron", "interval", "date")
_FORMS = {
    "cron": '{"cron": "*/5 * * * *"} or {"hour": 2, "minute": 30}',
    "interval": '{"seconds": 10} or {"every": "10s"}',
    "date": '{"run_date": "2026-01-08 10:00:00"}',
}


class HoldsSchedule(Protocol):
    """A row of `scheduled_job`, or what was read of it."""

    @property
    def job_id(self) -> str: ...
    @property
    def schedule_type(self) -> str: ...
    @property
    def schedule_expr(self) -> str: ...
    @property
    def timezone(self) -> str | None: ...
    @property
    def start_at(self) -> datetime | None: ...
    @property
    def end_at(self) -> datetime | None: ...


def schedule_of_row(row: HoldsSchedule, *, timezone: str) -> Schedule:
    """The schedule of `row`, in `timezone` if it names none. Raises what `parse_schedule` raises."""
    return parse_schedule(
        job_id=row.job_id,
        schedule_type=row.schedule_type,
        schedule_expr=row.schedule_expr,
        timezone=row.timezone or timezone,
        start_at=row.start_at,
        end_at=row.end_at,
    )


def parse_schedule(
    *,
    job_id: str,
    schedule_type: str,
    schedule_expr: str,
    timezone: str,
    start_at: datetime | None = None,
    end_at: datetime | None = None,
) -> Schedule:
    """The schedule of a row of `scheduled_job`.

    `schedule_expr` is the JSON text as it stands in the row, `timezone` an IANA name; `start_at` and
    `end_at` are aware, and included. Raises `ScheduleError`, and nothing else, for any content of a row: the
    message names the place, the value, what was expected and, if there is one, the remedy.

    Rows that say the same share one schedule, as far as it does not depend on the job.
    """
    parse = _parse
    if isinstance(schedule_expr, str) and not (
        schedule_type == "cron" and _MAYBE_HASHED.search(schedule_expr)
    ):
        parse, job_id = _shared, ""
    return parse(schedule_type, schedule_expr, timezone, start_at, end_at, job_id)


_MAYBE_HASHED = re.compile(r"(?<![a-z])h(?![a-z])|\\", re.ASCII | re.IGNORECASE)
"""Finds each `H`, which stands for a number that depends on the job, and any character that JSON escapes."""


def _parse(
    schedule_type: str,
    schedule_expr: str,
    timezone: str,
    start_at: datetime | None,
    end_at: datetime | None,
    job_id: str,
) -> Schedule:
    if schedule_type not in _TYPES:
        raise refusal(
            "is not a type of schedule",
            where="schedule_type",
            value=schedule_type,
            expected=", ".join(_TYPES),
        )
    zone = load_zone(timezone)
    expression = _load(schedule_type, schedule_expr)
    start, end = _bound("start_at", start_at, FIRST_INSTANT), _bound("end_at", end_at, LAST_INSTANT)
    trigger: Trigger
    if schedule_type == "interval":
        interval = parse_interval(_object(schedule_type, expression), zone=zone)
        trigger = interval.trigger
        start, end = max(start, interval.start or FIRST_INSTANT), min(end, interval.end or LAST_INSTANT)
        parts: tuple[object, ...] = (trigger.period, trigger.anchor)
    elif schedule_type == "date":
        trigger = Once(_run_date(_object(schedule_type, expression), zone))
        parts = (trigger.instant,)
    else:
        pattern, fixed = _parse_cron(expression, job_id)
        trigger = FixedCron(pattern, zone) if fixed else ElapsedCron(pattern, zone)
        parts = (*_meaning(pattern), fixed, zone.key)
    schedule = Schedule(
        kind=schedule_type,
        expression=schedule_expr,
        zone=zone,
        trigger=trigger,
        start=start,
        end=end,
        fires_once=schedule_type == "date",
        fingerprint=fingerprint_of(schedule_type, start, end, *parts),
    )
    _refuse_silence(schedule)
    return schedule


_shared = lru_cache(maxsize=_MOST_SHARED)(_parse)


def _load(schedule_type: str, text: str) -> object:
    where, expected = "schedule_expr", f"JSON such as {_FORMS[schedule_type]}"
    if not isinstance(text, str) or not text.strip():
        raise refusal("is empty", where=where, value=text, expected=expected)
    if len(text) > LONGEST_EXPRESSION:
        raise refusal(
            f"has {len(text)} characters", where=where, value=text, expected=f"at most {LONGEST_EXPRESSION}"
        )
    try:
        return _JSON.decode(text)
    except json.JSONDecodeError as error:
        what = f"is not JSON: {error.msg} at character {error.pos + 1}"
    except (ArithmeticError, RecursionError, ValueError):
        what = "is not readable JSON: it is nested too deeply or holds too large a number"
    remedy = 'put a cron string in double quotes: "*/5 * * * *"' if schedule_type == "cron" else None
    raise refusal(what, where=where, value=text, expected=expected, remedy=remedy)


def _refuse_constant(name: str) -> NoReturn:
    raise refusal(
        "is not a number", where="schedule_expr", value=name, expected="JSON, which has no such number"
    )


def _without_repetition(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise refusal("is given twice", where="schedule_expr, key", value=twice, expected="each key once")
    return found


_JSON = json.JSONDecoder(
    parse_float=Decimal, parse_constant=_refuse_constant, object_pairs_hook=_without_repetition
)


def _object(schedule_type: str, expression: object) -> Mapping[str, object]:
    if isinstance(expression, dict):
        return expression
    raise refusal(
        f"is {_kind_of(expression)}", where="schedule_expr", value=expression, expected=_FORMS[schedule_type]
    )


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case str():
            return "a text"
        case list():
            return "an array"
        case dict():
            return "an object"
        case _:
            return "a number"


def _parse_cron(expression: object, job_id: str) -> tuple[CronPattern, bool]:
    if isinstance(expression, str):
        return parse_cron_string(expression, job_id=job_id)
    fields = _object("cron", expression)
    if "cron" not in fields:
        return parse_cron_fields(fields)
    text = fields["cron"]
    if len(fields) > 1:
        raise refusal(
            "has a cron string and other keys",
            where="schedule_expr",
            value=", ".join(fields),
            expected="either one of the two",
        )
    if not isinstance(text, str):
        raise refusal(
            f"is {_kind_of(text)}", where="schedule_expr, cron", value=text, expected="a cron string"
        )
    return parse_cron_string(text, job_id=job_id)


def _meaning(pattern: CronPattern) -> tuple[object, ...]:
    """What determines the pattern's instants, regardless of how it was written."""
    masks, weeks, years = pattern.masks, pattern.weeks, pattern.years
    return pattern.seconds, pattern.minutes, pattern.hours, pattern.months, years, weeks, masks


def _run_date(expression: Mapping[str, object], zone: ZoneInfo) -> int:
    if set(expression) != {"run_date"}:
        keys = ", ".join(expression) or "{}"
        raise refusal("is not a date", where="schedule_expr, keys", value=keys, expected=_FORMS["date"])
    return parse_instant(expression["run_date"], where="run_date", zone=zone)


def _bound(name: str, value: datetime | None, default: int) -> int:
    if value is None:
        return default
    if value.tzinfo is None:
        raise refusal("has no zone", where=name, value=value, expected="an aware datetime")
    return min(max(to_microseconds(value), FIRST_INSTANT), LAST_INSTANT)


def _refuse_silence(schedule: Schedule) -> None:
    """Refuse a schedule without any instant within its bounds; one search finds out."""
    if schedule.start > schedule.end:
        raise refusal(
            "never fires: its end lies before its start",
            where="bounds",
            value=f"{_shown(schedule.start)} to {_shown(schedule.end)}",
            expected="an end that is not before the start",
        )
    if _is_endless(schedule):
        return
    first = schedule.trigger.at_or_after(schedule.start)
    if first is None or first > schedule.end:
        last = schedule.trigger.at_or_before(schedule.start)
        known = f"its last instant is {_shown(last)}" if first is None and last else None
        raise refusal(
            f"never fires from {_shown(schedule.start)} to {_shown(schedule.end)}",
            where="schedule_expr",
            value=schedule.expression,
            expected="at least one instant within start_at, end_at and the bounds of the expression",
            remedy=known,
        )


def _shown(instant: int) -> str:
    return instant_text(to_datetime(instant))


def _is_endless(schedule: Schedule) -> bool:
    """Whether nothing but the calendar bounds it: the pattern has been found to match in some years."""
    if schedule.start > FIRST_INSTANT or schedule.end < LAST_INSTANT:
        return False
    match schedule.trigger:
        case FixedCron(pattern=pattern) | ElapsedCron(pattern=pattern):
            return pattern.years is None
        case _:
            return False
