"""Reading a database that nobody has migrated yet: the operator may be there first, and waits for it."""

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
