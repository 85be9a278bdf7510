"""The error for an unusable schedule: where, the value, the complaint, what was expected, the remedy."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

from piko.errors import ScheduleError

_SHOWN = 80


def refusal(
    what: str, *, where: str, value: object, expected: str, remedy: str | None = None
) -> ScheduleError:
    """The error to raise. `what` is the complaint, without the value that it is about."""
    text = f"{where} = {shown(value)}: {what}; expected {expected}"
    return ScheduleError(f"{text}; {remedy}" if remedy else text)


def shown(value: object) -> str:
    """`value` as an error prints it: as JSON, text in quotes, shortened to 80 characters."""
    plain = isinstance(value, Decimal | datetime)
    text = repr(value) if isinstance(value, str) else str(value) if plain else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
