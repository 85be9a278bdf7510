"""How a schedule that cannot be used is refused: what, where, the value, what was expected, what to do."""

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
    """`value` as an error prints it: as JSON says it, text in quotes, and never long."""
    plain = isinstance(value, Decimal | datetime)
    text = repr(value) if isinstance(value, str) else str(value) if plain else json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
