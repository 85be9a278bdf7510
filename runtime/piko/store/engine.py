"""Connections to the database, and one vocabulary for their failures.

A `Database` holds two engines over one server: `engine` for transactions, and `autocommit` for single
statements, which saves a round trip each. Sessions speak UTC, wait briefly for row locks (cancelling a
task does not stop its statement on the server), and answer connection failures as
`DatabaseUnavailableError`, so that no part above needs to know a driver.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from piko.clock import SystemClock
from piko.dsn import parse_dsn
from piko.errors import DatabaseUnavailableError, DeadlockError, SchemaVersionError

# Unknown column, unknown table.
_SCHEMA_CODES = frozenset({1054, 1146})
# Server errors that say "not now" rather than "not so": deadlock, lock wait, a row changed since it was read,
# too many connections, shutdown, gone away, lost, killed, access refused while grants are still being made.
_RETRYABLE_CODES = frozenset(
    {1020, 1040, 1044, 1045, 1049, 1053, 1077, 1079, 1129, 1152, 1158, 1159, 1160, 1161, 1184}
    | {1205, 1213, 1317, 1927, 1969, 2002, 2003, 2006, 2013, 2055, 3024, 4031}
)

_DEADLOCK = 1213
_HANG_UP_S = 1.0
_IDLE_S = 10.0

# A replica that was cut off within a transaction must not keep its locks, that of the lease among them, until
# the server notices that nobody is there: in hours, by itself. MariaDB can tell an idle transaction from an
# idle connection; MySQL cannot, so one that was idle for long is not used again, and the server ends it. The
# comment is code to MariaDB alone.
_SESSION = (
    "time_zone = '+00:00', innodb_lock_wait_timeout = 5, wait_timeout = 20 "
    "/*M!100300 , idle_transaction_timeout = 10 */"
)

# Among the values of a statement are configs with secrets: no error's text may hold them.
_PRIVATE: dict[str, Any] = {"hide_parameters": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database, as the gateways of this package use it."""

    engine: AsyncEngine
    autocommit: AsyncEngine

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def where(self) -> str:
        """The DSN without its password, for messages."""
        return self.engine.url.render_as_string(hide_password=True)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """One transaction: committed at the end, rolled back on an error.

        Raises `DatabaseUnavailableError` when the connection fails; if that happens at COMMIT, whether it
        took effect is unknown and has to be found out by reading.
        """
        with keep_cancellation(), translate_errors(self):
            async with self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement commits by itself; errors as in `transaction`."""
        with keep_cancellation(), translate_errors(self):
            async with self.autocommit.connect() as connection:
                yield connection

    async def close(self) -> None:
        await self.engine.dispose()
        await self.autocommit.dispose()


def open_database(dsn: str, *, pool_size: int = 10) -> Database:
    """Engines for `dsn`; connects on first use. Raises `SettingsError` for a DSN that cannot work."""
    url = parse_dsn(dsn)
    if url.drivername.startswith("sqlite"):
        return _open_sqlite(url)
    return _open_mysql(url, pool_size=pool_size)


def _open_mysql(url: URL, *, pool_size: int) -> Database:
    arguments: dict[str, Any] = {
        "connect_timeout": 5,
        "read_timeout": 10,
        "stmt_cache_size": 64,
        "async_creator_fn": _connect,
        "init_command": f"SET {_SESSION}",
    }
    shared: dict[str, Any] = {
        "pool_recycle": 1800,
        "pool_timeout": 10,
        "pool_use_lifo": True,
        **_PRIVATE,
    }
    # Each statement sees what is committed by then, and no lock covers the gap where others insert: the
    # writes below name the rows they lock, and lock them in one order.
    # Every transaction here ends with its block: there is nothing to roll back when a connection comes back.
    engine = create_async_engine(
        url,
        connect_args=arguments,
        pool_size=pool_size,
        pool_reset_on_return=None,
        isolation_level="READ COMMITTED",
        **shared,
    )
    autocommit = create_async_engine(
        url,
        connect_args=arguments,
        pool_size=pool_size,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        **shared,
    )
    for each in (engine, autocommit):
        _refuse_long_idle(each)
    return Database(engine=engine, autocommit=autocommit)


def _refuse_long_idle(engine: AsyncEngine) -> None:
    """Let the pool dial anew instead of handing out a connection that the server is about to end."""
    monotonic = SystemClock().monotonic
    idle_since = "idle_since"

    def note(_connection: object, record: Any) -> None:
        record.info[idle_since] = monotonic()

    def refuse(_connection: object, record: Any, _proxy: object) -> None:
        since = record.info.pop(idle_since, None)
        if since is not None and monotonic() - since > _IDLE_S:
            raise exc.DisconnectionError("idle for so long that the server may be about to end it")

    event.listen(engine.sync_engine, "checkin", note)
    event.listen(engine.sync_engine, "checkout", refuse)


async def _connect(*arguments: Any, **options: Any) -> Any:
    """Connect with the driver, which forgets to close what it has opened when it is cancelled meanwhile."""
    import asyncmy

    async def dial() -> Any:
        return await asyncmy.connect(*arguments, **options)

    dialling = asyncio.create_task(dial())
    try:
        return await asyncio.shield(dialling)
    except asyncio.CancelledError:
        await asyncio.wait({dialling}, timeout=_HANG_UP_S)
        if not dialling.done():
            dialling.cancel()
            await asyncio.wait({dialling})
        if not dialling.cancelled() and dialling.exception() is None:
            dialling.result().close()
        await asyncio.sleep(0)  # a transport that was closed lets go of its socket at the loop's next turn
        raise


def _open_sqlite(url: URL) -> Database:
    engine = create_async_engine(url, **_PRIVATE)
    autocommit = create_async_engine(url, isolation_level="AUTOCOMMIT", **_PRIVATE)
    for each in (engine, autocommit):
        event.listen(each.sync_engine, "connect", _configure_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_immediate)
    event.listen(engine.sync_engine, "invalidate", _roll_back)
    return Database(engine=engine, autocommit=autocommit)


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where the driver guesses
    cursor = connection.cursor()
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "busy_timeout = 10000", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _roll_back(connection: Any, _record: object, error: BaseException | None) -> None:
    # A task was cancelled within a statement. SQLite keeps a connection that is closed with a statement open,
    # and its lock, until somebody collects the cursor.
    if error is not None:
        with suppress(sqlite3.Error):
            connection.rollback()


def _begin_immediate(connection: Any) -> None:
    # A transaction that reads before it writes must hold the write lock from its start: the fence needs it.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def translate_errors(database: Database) -> Iterator[None]:
    """Give a lost connection and a missing table the names that the parts above know.

    Raises `DatabaseUnavailableError` and `SchemaVersionError`. Other failures of a statement stay what they
    are: they are errors of this code.
    """
    try:
        yield
    except exc.DBAPIError as error:
        if _is_schema_missing(error.orig):
            raise SchemaVersionError(
                f"database {database.where} is not available: {error.orig}; its tables are missing or older "
                "than this release, run `piko db upgrade`"
            ) from error
        if error.connection_invalidated or _is_retryable(error.orig):
            kind = DeadlockError if _code(error.orig) == _DEADLOCK else DatabaseUnavailableError
            raise kind(f"database {database.where} is not available: {error.orig}") from error
        raise
    except (OSError, TimeoutError, exc.TimeoutError) as error:
        raise DatabaseUnavailableError(
            f"database {database.where} is not available: {type(error).__name__}: {error}"
        ) from error


@contextmanager
def keep_cancellation() -> Iterator[None]:
    """Raise `CancelledError` at the end where a cancellation came meanwhile and nobody passed it on.

    The driver waits with `asyncio.wait_for`, which before Python 3.12 drops a cancellation that meets the
    answer; the task would go on as if nobody had asked it to end.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    except Exception as error:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task and task.cancelling() > before:
        raise asyncio.CancelledError


def _code(error: BaseException | None) -> object:
    return error.args[0] if error is not None and error.args else None


def _is_schema_missing(error: BaseException | None) -> bool:
    code = _code(error)
    return code in _SCHEMA_CODES or str(code).startswith(("no such table", "no such column"))


def _is_retryable(error: BaseException | None) -> bool:
    if isinstance(error, OSError | TimeoutError):
        return True
    code = _code(error)
    if isinstance(code, int):
        return code in _RETRYABLE_CODES
    text = str(error)
    return "database is locked" in text or "unable to open database" in text or "disk I/O error" in text
