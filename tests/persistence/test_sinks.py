"""The sinks that come with Piko."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from piko.errors import PayloadError
from piko.persistence.sinks import JsonLinesSink, SqlTableSink
from tests.harness.databases import TestDatabase
from tests.persistence.writing import intent, running


class Order(BaseModel):
    id: int
    amount: Decimal
    at: datetime


async def test_rows_are_upserted_by_their_primary_key(database: TestDatabase, tmp_path: Path) -> None:
    await database.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, amount DECIMAL(10, 2), at DATETIME, "
        "note VARCHAR(20) DEFAULT 'none')"
    )
    sink = SqlTableSink("orders", dsn=database.dsn, table="orders", linger_s=0.005)
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many(
            [intent(n, Order(id=n, amount=Decimal(n), at=at), sink="orders") for n in range(1000)]
        )
        await writer.enqueue(intent(7, {"id": 7, "note": "changed"}, sink="orders"))
        await writer.enqueue(intent(7, {"id": 7, "amount": Decimal("9.90")}, sink="orders"))
    assert [tuple(row) for row in await database.execute("SELECT COUNT(*), SUM(id) FROM orders")] == [
        (1000, 499500)
    ]
    ((amount, note),) = await database.execute("SELECT amount, note FROM orders WHERE id = 7")
    assert (float(amount), note) == (9.9, "changed")


async def test_a_row_that_the_table_cannot_take_is_a_dead_letter(
    sqlite: TestDatabase, tmp_path: Path
) -> None:
    await sqlite.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
    sink = SqlTableSink("t", dsn=sqlite.dsn, table="t", backoff_s=0.01, linger_s=0.005, durability="spooled")
    rows = [{"id": n, "n": n} for n in range(20)]
    rows[3]["n"] = None  # type: ignore[assignment]
    rows[5]["colour"] = 1
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue_many([intent(row["id"], row, sink="t") for row in rows])
        with pytest.raises(PayloadError, match="writes objects and Pydantic models into columns, not a str"):
            await writer.enqueue(intent(99, "text", sink="t"))
    assert [tuple(row) for row in await sqlite.execute("SELECT COUNT(*) FROM t")] == [(18,)]


async def test_json_lines_hold_what_was_enqueued(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with running(JsonLinesSink("lines", path=path), folder=tmp_path) as (writer, _):
        order = Order(id=1, amount=Decimal("1.5"), at=datetime(2026, 1, 1, tzinfo=UTC))
        await writer.enqueue(intent("a", {"n": 1}, sink="lines"))
        await writer.enqueue(intent("b", order, sink="lines"))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["key"], first["payload"], first["job_id"]) == ("a", {"n": 1}, "load")
    assert second["payload"]["$model"][1]["amount"] == {"$decimal": "1.5"}
