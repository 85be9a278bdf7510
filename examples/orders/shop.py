"""Where the orders come from: `orders.csv` is one hour of a web shop, and every hour is like it.

An order that stands at 07:42 in the file was placed at 7 minutes and 42 seconds past each hour. So any window
of time, today or in a year, has its orders, and anyone can add them up again.
"""

from __future__ import annotations

import csv
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

_FILE = Path(__file__).with_name("orders.csv")
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Order:
    """One order; `cents` is its amount."""

    order_id: str
    placed_at: datetime
    region: str
    cents: int


def orders_between(start: datetime, end: datetime) -> Iterator[Order]:
    """The orders placed in `[start, end)`, oldest first; both aware."""
    offsets, rows = _read()
    hour = start.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    while hour < end:
        first, beyond = bisect_left(offsets, start - hour), bisect_left(offsets, end - hour)
        for offset, (number, region, cents) in zip(offsets[first:beyond], rows[first:beyond], strict=True):
            yield Order(f"{hour:%Y%m%dT%H}-{number:04d}", hour + offset, region, cents)
        hour += _HOUR


@lru_cache(maxsize=1)
def _read() -> tuple[list[timedelta], list[tuple[int, str, int]]]:
    offsets: list[timedelta] = []
    rows: list[tuple[int, str, int]] = []
    with _FILE.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            minute, second = row["at"].split(":")
            offsets.append(timedelta(minutes=int(minute), seconds=int(second)))
            rows.append((int(row["number"]), row["region"], round(float(row["amount"]) * 100)))
    return offsets, rows
