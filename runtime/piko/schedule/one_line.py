"""A row's schedule on one line, for lists."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from zoneinfo import ZoneInfo

from piko.errors import ScheduleError
from piko.schedule.instants import SECOND
from piko.schedule.interval import BOUNDS, parse_interval

LONGEST_LINE = 120
"""Characters of a line; what is longer is cut."""

_UNITS = (("d", 86_400 * SECOND), ("h", 3600 * SECOND), ("m", 60 * SECOND))
_UTC = ZoneInfo("UTC")


def schedule_line(schedule_type: str, schedule_expr: str) -> str:
    """`*/5 * * * *`, `every 10s`, `hour 3, minute 30`: the same for the same schedule, in whichever form.

    What is no schedule is shown as it was written.
    """
    return _line(schedule_type, schedule_expr)[:LONGEST_LINE]


def _line(schedule_type: str, schedule_expr: str) -> str:
    try:
        expression = json.loads(schedule_expr, parse_float=Decimal, parse_constant=str)
    except (ArithmeticError, RecursionError, ValueError):
        return f"{schedule_type} {schedule_expr}"
    if isinstance(expression, str):
        return expression.strip()
    if not isinstance(expression, dict):
        return f"{schedule_type} {schedule_expr}"
    if list(expression) == ["cron"]:
        return str(expression["cron"]).strip()
    every = _every(expression) if schedule_type == "interval" else None
    named = sorted(expression) if every is None else [key for key in BOUNDS if key in expression]
    facts = [f"{key.replace('_', ' ')} {expression[key]}" for key in named]
    return ", ".join(facts if every is None else [every, *facts])


def _every(expression: Mapping[str, object]) -> str | None:
    """`every 1h30m`; None: it is no interval."""
    length = {key: value for key, value in expression.items() if key not in BOUNDS}
    try:
        return f"every {_length(parse_interval(length, zone=_UTC).trigger.period)}"
    except ScheduleError:
        return None


def _length(period: int) -> str:
    """A length in microseconds: `1h30m`, `1.5s`, `500ms`."""
    if period < SECOND and not period % 1000:
        return f"{period // 1000}ms"
    text = ""
    for unit, size in _UNITS:
        count, period = divmod(period, size)
        text += f"{count}{unit}" if count else ""
    if period or not text:
        seconds = f"{Decimal(period) / SECOND:f}"
        text += f"{seconds}s"
    return text
