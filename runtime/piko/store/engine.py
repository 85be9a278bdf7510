"""Connections to the database, and one vocabulary for their failures.

A `Database` holds two engines over one server: `engine` for transactions, and `autocommit` for single
statements, which saves a round trip each. Sessions speak UTC, wait briefly for row locks (cancelling a
task does not stop its statement on the server), and answer connection failures as
`DatabaseUnavailableError`, so that no part above needs to know a driver.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import event, exc
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import QueuePool

from piko.clock import SystemClock
from piko.config_keys import NO_KEYS, ConfigKeys
from piko.dsn import dsn_file, parse_dsn
from piko.errors import DatabaseUnavailableError, SchemaVersionError
from piko.store.checksums import add_checksum
from piko.store.driver import driver_options
from piko.store.failures import ServerHealth, meaning_of

_PATIENT_LOCK_WAIT_S = 5
_USUAL_LEASE_S = 30.0
_OVERFLOW = 10
"""Connections of an engine beyond its pool, which are closed after use."""

# Among the values of a statement are configs with secrets: no error's text may hold them.
_PRIVATE: dict[str, Any] = {"hide_parameters": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database, as the gateways of this package use it."""

    engine: AsyncEngine
    autocommit: AsyncEngine
    health: ServerHealth = field(default_factory=ServerHealth)
    awaits_tables: bool = False
    """Whether a table that is missing or too old counts as a database that is not available."""
    most_connections: int | None = None
    """Of each of the two engines; None: there is no server that they could be too many for."""
    config_keys: ConfigKeys = NO_KEYS
    """What the secret parts of configs are encrypted with at rest."""

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
            self.health.written()

    @asynccontextmanager
    async def statements(self) -> AsyncIterator[AsyncConnection]:
        """A connection on which each statement commits by itself; errors as in `transaction`."""
        with keep_cancellation(), translate_errors(self):
            async with self.autocommit.connect() as connection:
                yield connection

    @asynccontextmanager
    async def single_writes(self) -> AsyncIterator[AsyncConnection]:
        """As `statements`, for those that write: one that needs no other has its locks for no round trip."""
        async with self.statements() as connection:
            yield connection
        self.health.written()

    @property
    def in_use(self) -> Mapping[str, Callable[[], int]]:
        """By the name of each engine, how many of its connections are in use now."""
        pools = {"transactions": self.engine.pool, "statements": self.autocommit.pool}
        return {name: pool.checkedout for name, pool in pools.items() if isinstance(pool, QueuePool)}

    async def close(self) -> None:
        await self.engine.dispose()
        await self.autocommit.dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTimeouts:
    """How long a server waits for a session that has fallen silent, in seconds.

    A replica that was cut off within a transaction must not keep its locks, that of the lease among them,
    until the server notices that nobody is there: in hours, by itself. They are free before the lease has
    expired, so that the takeover waits for nothing else. MariaDB can tell an idle transaction from an idle
    connection; MySQL cannot, so one that was idle for long is not used again, and the server ends it.
    """

    lease_s: float
    lock_wait_s: int

    @property
    def idle_transaction_s(self) -> int:
        return max(1, min(10, int(self.lease_s / 3)))

    @property
    def idle_connection_s(self) -> int:
        return max(2, min(20, int(self.lease_s * 2 / 3)))

    @property
    def statement(self) -> str:
        """Sets it for a session. The comment is code to MariaDB alone."""
        return (
            f"SET time_zone = '+00:00', innodb_lock_wait_timeout = {self.lock_wait_s}, "
            f"wait_timeout = {self.idle_connection_s} "
            f"/*M!100300 , idle_transaction_timeout = {self.idle_transaction_s} */"
        )


def open_database(
    dsn: str,
    *,
    pool_size: int = 10,
    lease_s: float = _USUAL_LEASE_S,
    lock_wait_s: int = _PATIENT_LOCK_WAIT_S,
    awaits_tables: bool = False,
    config_keys: ConfigKeys = NO_KEYS,
) -> Database:
    """Engines for `dsn`; connects on first use. Raises `SettingsError` for a DSN that cannot work.

    If `dsn` is `file:/path`, the file is read again whenever a connection fails.

    A session that falls silent within a transaction is ended by the server before `lease_s` is over; one that
    waits for a row gives up after `lock_wait_s`.

    With `awaits_tables`, a statement that meets a table which is missing or too old raises
    `DatabaseUnavailableError`, not `SchemaVersionError`: for a program that may start before the end of
    `piko db upgrade`, and waits for it.

    `config_keys` encrypt the secret parts of configs that are written, and decrypt those that are read.
    """
    url = parse_dsn(dsn)
    if url.drivername.startswith("sqlite"):
        database = _open_sqlite(url)
    else:
        database = _open_mysql(
            url,
            pool_size=pool_size,
            timeouts=SessionTimeouts(lease_s=lease_s, lock_wait_s=lock_wait_s),
            renewed_in=dsn_file(dsn),
        )
    return replace(database, awaits_tables=awaits_tables, config_keys=config_keys)


def _open_mysql(url: URL, *, pool_size: int, timeouts: SessionTimeouts, renewed_in: Path | None) -> Database:
    url, arguments = driver_options(
        url, init_command=timeouts.statement, read_timeout_s=10, renewed_in=renewed_in
    )
    arguments["stmt_cache_size"] = 64
    shared: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": _OVERFLOW,
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
        pool_reset_on_return=None,
        isolation_level="READ COMMITTED",
        **shared,
    )
    autocommit = create_async_engine(
        url,
        connect_args=arguments,
        isolation_level="AUTOCOMMIT",
        skip_autocommit_rollback=True,
        **shared,
    )
    database = Database(engine=engine, autocommit=autocommit, most_connections=pool_size + _OVERFLOW)
    for each in (engine, autocommit):
        _refuse_stale(each, database.health, idle_s=timeouts.idle_connection_s / 2)
    return database


def _refuse_stale(engine: AsyncEngine, health: ServerHealth, *, idle_s: float) -> None:
    """Let the pool connect again rather than hand out a connection that is unusable or ends soon."""
    monotonic = SystemClock().monotonic
    idle_since, generation = "idle_since", "generation"

    def made(_connection: object, record: Any) -> None:
        record.info[generation] = health.generation

    def note(_connection: object, record: Any) -> None:
        record.info[idle_since] = monotonic()

    def refuse(_connection: object, record: Any, _proxy: object) -> None:
        since = record.info.pop(idle_since, None)
        if since is not None and monotonic() - since > idle_s:
            raise exc.DisconnectionError("idle for so long that the server may be about to end it")
        if record.info.get(generation) != health.generation:
            raise exc.DisconnectionError("its server took no writes; another may have its place by now")

    event.listen(engine.sync_engine, "connect", made)
    event.listen(engine.sync_engine, "checkin", note)
    event.listen(engine.sync_engine, "checkout", refuse)


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
    add_checksum(connection)


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
    """Give what the server says the names that the parts above know, see `meaning_of`.

    Raises `DatabaseUnavailableError`, its kinds, and `SchemaVersionError` unless the database awaits tables.
    """
    try:
        yield
    except exc.DBAPIError as error:
        meaning = meaning_of(database.where, error)
        if meaning is None:
            raise
        database.health.refused(meaning)
        if database.awaits_tables and isinstance(meaning, SchemaVersionError):
            meaning = DatabaseUnavailableError(str(meaning))
        raise meaning from error
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
