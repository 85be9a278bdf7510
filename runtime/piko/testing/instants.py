"""Instants and windows as a test writes them: pure."""

from __future__ import annotations

from datetime import UTC, datetime

from piko.core.types import DataInterval
from piko.errors import InputError

Instant = datetime | str
"""An aware datetime, or its text by ISO 8601 with its offset: `2026-03-01T00:00Z`."""


def instant(value: Instant) -> datetime:
    """`value` in UTC. Raises `InputError` if it is no instant, or has no offset."""
    expected = "expected an instant with its offset, such as 2026-03-01T00:00Z"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise InputError(f"{value!r} is no instant; {expected}") from None
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InputError(f"{value!r} has no offset; {expected}")
    return moment.astimezone(UTC)


def window_of(value: DataInterval | tuple[Instant, Instant] | str | None) -> DataInterval | None:
    """The window `[start, end)`. Raises `InputError` if it is none, or empty."""
    if value is None:
        return None
    match value:
        case DataInterval(start=start, end=end) | (start, end):
            pass
        case str() if value.count("/") == 1:
            start, end = value.split("/")
        case _:
            raise InputError(
                f"window = {value!r}: expected START/END, such as 2026-03-01T00:00Z/2026-03-02T00:00Z"
            )
    window = DataInterval(instant(start), instant(end))
    if window.start >= window.end:
        raise InputError(f"window = {value!r}: its end must be after its start")
    return window
