"""A session that a test holds on to: for locks, for another time zone, for an open transaction."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from tests.harness.databases import patient_engine


class Session:
    """Statements as written, each committed by itself unless a BEGIN was said."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def execute(self, sql: str) -> list[tuple[Any, ...]]:
        as_written = await self._connection.execution_options(no_parameters=True)
        outcome = await as_written.exec_driver_sql(sql)
        return [tuple(row) for row in outcome] if outcome.returns_rows else []


@asynccontextmanager
async def open_session(dsn: str) -> AsyncIterator[Session]:
    """One connection until the end of the block."""
    engine = patient_engine(dsn)
    try:
        async with engine.connect() as connection:
            yield Session(await connection.execution_options(isolation_level="AUTOCOMMIT"))
    finally:
        await engine.dispose()
