"""Reading a database that was not migrated yet: the operator may start first, and waits for the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection

from piko.errors import DatabaseUnavailableError, SchemaVersionError
from piko.store.engine import Database


@asynccontextmanager
async def statements_once_migrated(database: Database) -> AsyncIterator[AsyncConnection]:
    """As `Database.statements`. Raises `DatabaseUnavailableError` also where tables are missing."""
    try:
        async with database.statements() as connection:
            yield connection
    except SchemaVersionError as error:
        raise DatabaseUnavailableError(str(error)) from error
