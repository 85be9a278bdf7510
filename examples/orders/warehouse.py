"""Where the orders go: a SQLite file next to this module."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path

from piko import JobContext, resource
from shop import Order

FILE = Path(__file__).with_name("warehouse.db")

_TABLES = """
CREATE TABLE IF NOT EXISTS orders (
    order_id TEXT PRIMARY KEY, placed_at TEXT NOT NULL, region TEXT NOT NULL, cents INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS ix_orders_placed_at ON orders (placed_at);
CREATE TABLE IF NOT EXISTS revenue (
    region TEXT PRIMARY KEY, orders INTEGER NOT NULL, cents INTEGER NOT NULL);
"""


class Warehouse:
    """A connection; its methods block, and are called through `asyncio.to_thread`."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(FILE, timeout=10, check_same_thread=False)
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    def replace_window(self, start: datetime, end: datetime, orders: Iterable[Order]) -> tuple[int, int]:
        """Make the window `[start, end)` hold just `orders`; their number and sum.

        One transaction takes out what was there and puts in what is there now, so that a window may be done
        twice, or be cut off in the middle, and is right afterwards.
        """
        rows = [(order.order_id, _text(order.placed_at), order.region, order.cents) for order in orders]
        with self._connection:
            self._connection.execute(
                "DELETE FROM orders WHERE placed_at >= ? AND placed_at < ?", (_text(start), _text(end))
            )
            self._connection.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", rows)
        return len(rows), sum(row[3] for row in rows)

    def sum_up(self) -> list[tuple[str, int, int]]:
        """Compute revenue per region again; region, orders, cents, the largest first."""
        with self._connection:
            self._connection.execute("DELETE FROM revenue")
            self._connection.execute(
                "INSERT INTO revenue SELECT region, count(*), sum(cents) FROM orders GROUP BY region"
            )
        return self._connection.execute("SELECT * FROM revenue ORDER BY cents DESC").fetchall()


@resource
class OpenWarehouse:
    """Hands a job an open warehouse, and closes it after the run, however that ends."""

    @asynccontextmanager
    async def acquire(self, ctx: JobContext) -> AsyncGenerator[Warehouse, None]:
        with closing(await asyncio.to_thread(Warehouse)) as warehouse:
            yield warehouse


def loaded(file: Path, start: datetime, end: datetime) -> tuple[int, int]:
    """How many orders of `[start, end)` are in the warehouse `file`, and their sum in cents."""
    with closing(sqlite3.connect(file, timeout=10)) as connection:
        connection.executescript(_TABLES)
        number, cents = connection.execute(
            "SELECT count(*), coalesce(sum(cents), 0) FROM orders WHERE placed_at >= ? AND placed_at < ?",
            (_text(start), _text(end)),
        ).fetchone()
    return number, cents


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S")
