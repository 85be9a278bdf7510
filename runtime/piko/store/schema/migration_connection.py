"""The one connection that migrates a schema or looks at it, and what the database may refuse on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from sqlalchemy import exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from piko.dsn import parse_dsn
from piko.errors import DatabaseRefusedError, MigrationError
from piko.store.driver import driver_options
from piko.store.engine import Database, translate_errors

_RIGHTS_REMEDY = (
    "let this user in, and GRANT it SELECT, INSERT, UPDATE and DELETE on the database, and for "
    "`piko db upgrade` CREATE, ALTER and INDEX as well"
)

# A DDL statement that waits for a long transaction keeps every later query waiting behind it.
_METADATA_LOCK_WAIT_S = 30


@asynccontextmanager
async def migration_connection(
    dsn: str, *, busy_wait_s: float, answer_wait_s: float | None = None
) -> AsyncIterator[AsyncConnection]:
    """A connection that commits each statement, unless BEGIN is said.

    It waits `busy_wait_s` for the file of SQLite, and `answer_wait_s` (None: without end) for an answer.
    Raises `MigrationError` for a statement that the server refuses, and `DatabaseUnavailableError`.
    """
    url = parse_dsn(dsn)
    on_sqlite = url.drivername.startswith("sqlite")
    arguments: dict[str, Any] = {"timeout": busy_wait_s}
    if not on_sqlite:
        session = f"SET time_zone = '+00:00', lock_wait_timeout = {_METADATA_LOCK_WAIT_S}"
        url, arguments = driver_options(url, init_command=session, read_timeout_s=answer_wait_s)
    engine = create_async_engine(
        url, poolclass=NullPool, isolation_level="AUTOCOMMIT", connect_args=arguments
    )
    database = Database(engine=engine, autocommit=engine)
    try:
        with _refusals(url), translate_errors(database):
            async with engine.connect() as connection:
                yield connection
    finally:
        await engine.dispose()


@contextmanager
def _refusals(url: URL) -> Iterator[None]:
    """What the database refuses, in its words, with the statement that it refused and the remedy."""
    try:
        yield
    except DatabaseRefusedError as error:
        if not isinstance(error.__cause__, exc.DBAPIError):
            raise
        raise _refused(url, error.__cause__, remedy=f"; {_RIGHTS_REMEDY}") from error
    except exc.DBAPIError as error:
        raise _refused(url, error) from error


def _refused(url: URL, error: exc.DBAPIError, *, remedy: str = "") -> MigrationError:
    statement = " ".join((error.statement or "(connecting)").split())
    return MigrationError(
        f"the database {url.render_as_string(hide_password=True)} refused a statement: {error.orig}; "
        f"it was: {statement[:200]}{remedy}"
    )
