"""The sinks that come with Piko."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from piko.errors import PayloadError
from piko.persistence.sinks import JsonLinesSink, SqlTableSink
from tests.harness.databases import TestDatabase
from tests.harness.waiting import wait_until_async
from tests.persistence.test_poison import dead_letters
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


UNFIT: list[tuple[dict[str, Any], str]] = [
    ({"id": 3, "n": None}, "n"),
    ({"id": 3}, "n"),
    ({"id": 3, "n": 3, "colour": 1}, "table t has no column colour; the table has the columns id, n"),
    ({"id": 3, "n": 3, "ids": 1}, "table t has no column ids; did you mean `id`?; the table has"),
    ({"n": 3}, "table t: a row lacks id"),
    ({"id": 3, "n": {"a": 1}}, "table t"),
    ({"id": 3, "n": 10**30}, "table t"),
]


@pytest.mark.parametrize(("row", "error"), UNFIT)
async def test_a_row_that_does_not_fit_the_table_is_a_dead_letter_at_once(
    row: dict[str, Any], error: str, database: TestDatabase, tmp_path: Path
) -> None:
    await database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, n INTEGER NOT NULL)")
    # A pause or a second try would never end.
    sink = SqlTableSink("t", dsn=database.dsn, table="t", backoff_s=600, max_backoff_s=600, attempts=9)
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue(intent("bad", row, sink="t"))
        await wait_until_async(lambda: len(writer) == 0, what="the burial")
        await writer.enqueue_many(
            [intent(n, row if n == 3 else {"id": n, "n": n}, sink="t") for n in range(20)]
        )
        with pytest.raises(PayloadError, match="writes objects and Pydantic models into columns, not a str"):
            await writer.enqueue(intent(99, "text", sink="t"))
        await wait_until_async(lambda: len(writer) == 0, what="everything to be settled")
    assert [tuple(row) for row in await database.execute("SELECT COUNT(*) FROM t")] == [(19,)]
    letters = dead_letters(tmp_path)
    assert [json.loads(letter.body)[0] for letter in letters] == ["bad", "3"]
    assert all(error in letter.error for letter in letters)


async def test_a_column_that_is_added_later_is_seen(sqlite: TestDatabase, tmp_path: Path) -> None:
    await sqlite.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    sink = SqlTableSink("t", dsn=sqlite.dsn, table="t", linger_s=0.005)
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue(intent(1, {"id": 1}, sink="t"))
        await wait_until_async(lambda: len(writer) == 0, what="the first row")
        await sqlite.execute("ALTER TABLE t ADD COLUMN colour INTEGER")
        await writer.enqueue(intent(2, {"id": 2, "colour": 7}, sink="t"))
    assert [tuple(row) for row in await sqlite.execute("SELECT id, colour FROM t")] == [(1, None), (2, 7)]


async def test_a_table_that_is_not_there_is_waited_for(sqlite: TestDatabase, tmp_path: Path) -> None:
    sink = SqlTableSink("t", dsn=sqlite.dsn, table="t", linger_s=0.005, backoff_s=0.01, max_backoff_s=0.05)
    async with running(sink, folder=tmp_path) as (writer, _):
        await writer.enqueue(intent(1, {"id": 1}, sink="t"))
        await wait_until_async(lambda: writer.failing, what="the failure")
        assert "has no table 't'; create it first" in writer.failing["t"]
        await sqlite.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
        await wait_until_async(lambda: len(writer) == 0, what="the row")
    assert dead_letters(tmp_path) == []


async def test_json_lines_hold_what_was_enqueued(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    async with running(JsonLinesSink("lines", path=path), folder=tmp_path) as (writer, _):
        order = Order(id=1, amount=Decimal("1.5"), at=datetime(2026, 1, 1, tzinfo=UTC))
        await writer.enqueue(intent("a", {"n": 1}, sink="lines"))
        await writer.enqueue(intent("b", order, sink="lines"))
    first, second = (json.loads(line) for line in path.read_text().splitlines())
    assert (first["key"], first["payload"], first["job_id"]) == ("a", {"n": 1}, "load")
    assert second["payload"]["$model"][1]["amount"] == {"$decimal": "1.5"}
