"""What becomes of failures and cancellations on their way through the driver."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from piko.errors import DatabaseUnavailableError, SchemaVersionError
from piko.store.engine import Database, SessionTimeouts, open_database
from tests.harness.databases import TestDatabase
from tests.harness.waiting import PATIENCE_S, wait_until_async


@pytest.fixture
async def silent_server() -> AsyncIterator[tuple[int, list[asyncio.StreamWriter]]]:
    """A port on which somebody picks up and never says a word, and who has called."""
    callers: list[asyncio.StreamWriter] = []

    async def pick_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        callers.append(writer)

    server = await asyncio.start_server(pick_up, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], callers
    for writer in callers:
        writer.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("entrance", ["transaction", "statements"])
async def test_a_task_that_is_cancelled_while_it_connects_ends(
    entrance: str, silent_server: tuple[int, list[asyncio.StreamWriter]]
) -> None:
    port, callers = silent_server
    database = open_database(f"mysql+asyncmy://piko:piko@127.0.0.1:{port}/piko")

    async def ask() -> None:
        async with getattr(database, entrance)() as connection:
            await connection.execute(text("SELECT 1"))

    task = asyncio.create_task(ask())
    await wait_until_async(lambda: callers, what="the connection to be tried")
    task.cancel()
    await asyncio.wait({task}, timeout=PATIENCE_S)
    assert task.cancelled(), f"the driver turned the cancellation into {task.exception()!r}"
    await database.close()


@pytest.mark.parametrize("entrance", ["transaction", "statements"])
async def test_a_cancellation_at_any_moment_ends_the_task(entrance: str, mariadb: TestDatabase) -> None:
    database = open_database(mariadb.dsn)
    asked = 0

    async def ask_and_wait() -> None:
        nonlocal asked
        async with getattr(database, entrance)() as connection:
            await connection.execute(text("SELECT 1"))
        asked += 1
        await asyncio.Event().wait()

    steps = 0
    while asked < 20:  # a step of the event loop later every third time, until some come through
        steps += 1
        task = asyncio.create_task(ask_and_wait())
        for _ in range(steps // 3):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE_S)
        assert task.cancelled(), f"after {steps} steps the driver kept the cancellation to itself"
    await database.close()
    gc.collect()  # a socket that was left open is warned of here, and a warning is an error


@pytest.mark.parametrize(
    ("awaits_tables", "error"), [(False, SchemaVersionError), (True, DatabaseUnavailableError)]
)
@pytest.mark.parametrize("entrance", ["transaction", "statements"])
async def test_a_missing_table_or_column_is_reported_with_its_remedy(
    entrance: str, awaits_tables: bool, error: type[Exception], database: TestDatabase
) -> None:
    await database.execute("CREATE TABLE job_config (job_id INTEGER)")
    opened = open_database(database.dsn, awaits_tables=awaits_tables)
    for missing, statement in (
        ("job_state", "SELECT * FROM job_state"),
        ("config_json", "SELECT config_json FROM job_config"),
    ):
        with pytest.raises(error, match=rf"{missing}.*run `piko db upgrade`"):
            async with getattr(opened, entrance)() as connection:
                await connection.execute(text(statement))
    await opened.close()


async def test_no_error_shows_the_values_of_its_statement(database: TestDatabase) -> None:
    opened = open_database(database.dsn)
    with pytest.raises(DBAPIError) as refused:
        async with opened.transaction() as connection:
            await connection.execute(text("SELECT nonsense(:secret)"), {"secret": "hunter2"})
    assert "hunter2" not in str(refused.value)
    await opened.close()


async def test_who_loses_a_deadlock_may_try_again(emptied_database: TestDatabase) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite has one writer at a time")
    database = open_database(emptied_database.dsn)
    names = ("one", "two")
    together = asyncio.Barrier(len(names))

    grow = text("UPDATE leader_lease SET epoch = epoch + 1 WHERE name = :name")

    async def cross(first: str, second: str) -> None:
        async with database.transaction() as connection:
            await connection.execute(grow, {"name": first})
            await together.wait()
            await connection.execute(grow, {"name": second})

    for name in names:
        await emptied_database.execute(f"INSERT INTO leader_lease (name, epoch) VALUES ('{name}', 0)")
    ends = await asyncio.gather(cross("one", "two"), cross("two", "one"), return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["DeadlockError", "NoneType"]
    assert "Deadlock" in str(next(end for end in ends if end is not None))
    async with database.transaction() as connection:
        await connection.execute(grow, {"name": "one"})
    rows = await emptied_database.execute("SELECT name, epoch FROM leader_lease ORDER BY name")
    assert rows == [("one", 2), ("two", 1)]
    await database.close()


async def test_a_task_that_is_cancelled_within_a_transaction_leaves_no_lock_behind(
    emptied_database: TestDatabase,
) -> None:
    """Also where nobody collects what the cancelled task has left."""
    database = open_database(emptied_database.dsn)
    chance = random.Random(7)
    await emptied_database.execute("INSERT INTO leader_lease (name, epoch) VALUES ('one', 0)")

    async def write_for_ever() -> None:
        while True:
            await write()

    async def write() -> None:
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE leader_lease SET epoch = epoch + 1 WHERE name = 'one'"))
            await connection.execute(text("SELECT * FROM leader_lease"))

    gc.disable()
    try:
        for _ in range(60):
            task = asyncio.create_task(write_for_ever())
            await asyncio.wait({task}, timeout=chance.uniform(0, 0.02))
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            async with asyncio.timeout(PATIENCE_S):
                await write()
    finally:
        gc.enable()
    await database.close()


async def test_a_connection_that_was_idle_for_long_is_not_used_again(mariadb: TestDatabase) -> None:
    """The server may have ended it: nobody is to learn that by an error."""

    async def number(database: Database) -> int:
        async with database.transaction() as connection:
            return int((await connection.execute(text("SELECT CONNECTION_ID()"))).scalar_one())

    usual, hasty = open_database(mariadb.dsn), open_database(mariadb.dsn, lease_s=3)
    kept, dropped = await number(usual), await number(hasty)
    await asyncio.sleep(SessionTimeouts(lease_s=3, lock_wait_s=1).idle_connection_s / 2 + 0.1)
    assert await number(usual) == kept
    assert await number(hasty) != dropped
    await usual.close()
    await hasty.close()


async def test_what_a_silent_session_holds_is_free_before_the_lease_is_over(
    emptied_database: TestDatabase,
) -> None:
    if emptied_database.kind == "sqlite":
        pytest.skip("SQLite's locks end with the process that has them")
    await emptied_database.execute("INSERT INTO leader_lease (name, epoch) VALUES ('one', 0)")
    silent = open_database(emptied_database.dsn, lease_s=9)
    other = open_database(emptied_database.dsn, lease_s=9, lock_wait_s=9)
    grow = text("UPDATE leader_lease SET epoch = epoch + 1 WHERE name = 'one'")

    async def fall_silent() -> None:
        async with silent.transaction() as connection:
            await connection.execute(grow)
            async with other.transaction() as another:  # waits for the server to end the silent one
                await another.execute(grow)

    with pytest.raises(DatabaseUnavailableError):
        await fall_silent()
    assert await emptied_database.execute("SELECT epoch FROM leader_lease") == [(1,)]
    await silent.close()
    await other.close()


@given(lease_s=st.floats(1, 3600))
def test_a_server_ends_silent_sessions_within_the_lease(lease_s: float) -> None:
    patience = SessionTimeouts(lease_s=lease_s, lock_wait_s=1)
    assert 1 <= patience.idle_transaction_s <= max(1, lease_s / 3)
    assert 2 <= patience.idle_connection_s <= max(2, lease_s * 2 / 3)
