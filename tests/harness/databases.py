"""Fresh databases: one for each test that asks, empty, and gone afterwards."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tests.harness.waiting import PATIENCE_S, wait_until_async

DatabaseKind = Literal["sqlite", "mariadb", "mysql"]


@dataclass(frozen=True, slots=True)
class TestDatabase:
    """A database of one test, and the async DSN that reaches it."""

    __test__: ClassVar[bool] = False

    kind: DatabaseKind
    dsn: str

    async def execute(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs one statement as written, commits it, and returns its rows if it has any."""
        return await run_statement(self.dsn, sql)


def patient_engine(dsn: str) -> AsyncEngine:
    """Connections of a test's own; a busy server may greet late, SQLite be locked for long."""
    bound = "timeout" if make_url(dsn).get_backend_name() == "sqlite" else "connect_timeout"
    return create_async_engine(dsn, poolclass=NullPool, connect_args={bound: PATIENCE_S})


async def run_statement(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    """One statement on a connection of its own."""
    engine = patient_engine(dsn)
    try:
        async with engine.begin() as connection:
            as_written = await connection.execution_options(no_parameters=True)
            outcome = await as_written.exec_driver_sql(sql)
            return [tuple(row) for row in outcome] if outcome.returns_rows else []
    finally:
        await engine.dispose()


async def migrate(database: TestDatabase) -> TestDatabase:
    """Piko's tables in it, however late a busy server greets."""
    from piko.errors import DatabaseUnavailableError
    from piko.store.schema.migrate import upgrade

    async def upgraded() -> bool:
        try:
            await upgrade(database.dsn)
        except DatabaseUnavailableError:  # Piko waits some seconds for a connection
            return False
        return True

    await wait_until_async(upgraded, what="the tables to be made")
    return database


async def create_database(kind: DatabaseKind, server_dsn: str) -> TestDatabase:
    """Creates an empty database on the server, under a name that nobody else has."""
    name = f"piko_test_{secrets.token_hex(6)}"
    await run_statement(server_dsn, f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    url = make_url(server_dsn).set(database=name)
    return TestDatabase(kind=kind, dsn=url.render_as_string(hide_password=False))


async def drop_database(database: TestDatabase) -> None:
    """Drops it on its server."""
    url = make_url(database.dsn)
    server_dsn = url.set(database="").render_as_string(hide_password=False)
    await run_statement(server_dsn, f"DROP DATABASE IF EXISTS {url.database}")


def sqlite_database(folder: Path) -> TestDatabase:
    """A database file that does not exist yet, in `folder`."""
    return TestDatabase(kind="sqlite", dsn=f"sqlite+aiosqlite:///{folder / 'piko.db'}")
