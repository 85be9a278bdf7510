"""Session locks: how a server says within milliseconds that a process has ended.

MySQL and MariaDB free a lock of `GET_LOCK` when the session that holds it ends, and a session ends when the
operating system closes the socket of a killed process. So each instance holds a lock on a connection of its
own, publishes the lock's name in the table `session_lock`, and looks at the locks of the others.

- A **name** is new for each session, so a lock that is free is never confused with one that was taken again,
  and two databases on one server, whose locks share one space of names, never meet.
- A lock counts as held only if the **session that the row names** holds it: anybody may take a name that is
  free.
- One statement reads all rows and asks for all locks.
- The session has a `wait_timeout` of its own, so that the server frees the lock of a machine that vanished
  when the lease is over and not before, and no limit on the time of a statement, which would end a wait.

SQLite has no sessions that a server could watch.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, and_, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from piko.dsn import parse_dsn
from piko.errors import DatabaseUnavailableError, SessionLockError, SettingsError
from piko.model.session_locks import Look, SeenLock, SessionLock
from piko.store.driver import driver_options, ended
from piko.store.engine import Database, keep_cancellation, translate_errors
from piko.store.failures import any_refusal
from piko.store.schema.column_types import Now
from piko.store.schema.tables.replicas import leader_lease, runtime_instance, session_lock
from piko.store.upsert import upsert

_MOST = 1_000
"""Instances at one look."""
_WAIT_S = 1
"""The shortest wait that MySQL knows. It bounds how long the lock of a standby outlives its process: a server
that executes a statement looks only once a second whether the client is still there."""
_IDENTITY = ("server_uuid", "server_uid", "hostname", "port", "datadir", "server_id")
"""Together they identify a server; each server has only some of them, or leaves some at their default."""


class SessionLockStore:
    """Opens sessions that hold a lock, and publishes which they are."""

    def __init__(
        self, *, database: Database, dsn: str, lease_name: str, idle_s: float, heard_within_s: float
    ) -> None:
        """Nothing connects yet.

        - `database`: where locks are published.
        - `dsn`: for the sessions, each with a connection of its own.
        - `lease_name`: the lease whose holder is the leader.
        - `idle_s`: after so many seconds without a statement the server ends a session.
        - `heard_within_s`: instances without a heartbeat for so long are left out of a look.
        """
        self._database = database
        self._dsn = dsn
        self._lease_name = lease_name
        self._idle_s = max(2, round(idle_s))
        self._heard_within_s = heard_within_s

    @asynccontextmanager
    async def session(self) -> AsyncIterator[LockSession]:
        """A session on a connection of its own, which ends with the block.

        Raises `DatabaseUnavailableError`, within the block too.
        """
        try:
            url, arguments = driver_options(
                parse_dsn(self._dsn), init_command=_session(self._idle_s), read_timeout_s=self._idle_s
            )
        except SettingsError as error:  # it was valid at the start: a file that it names has changed since
            raise DatabaseUnavailableError(str(error)) from error
        engine = create_async_engine(
            url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            skip_autocommit_rollback=True,
            connect_args=arguments,
            hide_parameters=True,
        )
        watched = Database(engine=engine, autocommit=engine)
        try:
            with any_refusal(watched.where), keep_cancellation(), translate_errors(watched):
                async with engine.connect() as connection:
                    yield await _opened(connection, self._lease_name, self._heard_within_s)
        finally:
            await engine.dispose()

    async def publish(self, instance_id: str, lock: SessionLock) -> None:
        """Say that `instance_id` holds `lock`, and no other. Raises `DatabaseUnavailableError`."""
        values = {
            "lock_name": lock.name,
            "server": lock.server,
            "session_id": lock.session_id,
            "taken_at": lock.taken_at,
        }
        async with self._database.statements() as connection:
            await connection.execute(
                upsert(self._database, session_lock, update=tuple(values)),
                [{"instance_id": instance_id, **values}],
            )

    async def withdraw(self, instance_id: str) -> None:
        """Say that `instance_id` holds no lock. Raises `DatabaseUnavailableError`."""
        async with self._database.statements() as connection:
            await connection.execute(delete(session_lock).where(session_lock.c.instance_id == instance_id))


class LockSession:
    """One session: it takes locks, and looks at those of others. One call at a time."""

    def __init__(
        self,
        *,
        connection: AsyncConnection,
        ended: asyncio.Future[None],
        schema: str,
        server: str,
        server_since: datetime,
        session_id: int,
        lease_name: str,
        heard_within_s: float,
    ) -> None:
        self._connection = connection
        self._prefix = f"piko:{hashlib.sha256(schema.encode()).hexdigest()[:16]}:"
        self._server = server
        self._server_since = server_since
        self._session_id = session_id
        self._statement = _look(lease_name, heard_within_s)
        self.ended = ended
        """Done when the server or the network has ended the session; the server is not asked."""

    async def take(self) -> SessionLock:
        """Take a lock with a new name. Raises `SessionLockError` if the server does not grant it."""
        name = self._prefix + secrets.token_hex(16)
        taken, now = (await self._ask(select(func.get_lock(name, 0), Now()))).one()
        if taken != 1:
            raise SessionLockError(
                f"GET_LOCK({name!r}, 0) was answered with {taken} instead of 1; it needs a connection of its "
                "own to a server of MySQL or MariaDB"
            )
        return SessionLock(name=name, server=self._server, session_id=self._session_id, taken_at=now)

    async def release(self, lock: SessionLock) -> None:
        """Free `lock`, if this session holds it."""
        await self._ask(select(func.release_lock(lock.name)))

    async def wait(self, lock: SessionLock) -> bool:
        """Wait for about a second until `lock` of another session is free; whether it is."""
        taken = (await self._ask(select(func.get_lock(lock.name, _WAIT_S)))).scalar_one()
        if taken == 1:  # others wait for it, too
            await self.release(lock)
        return bool(taken)

    async def look(self) -> Look:
        """Look at the locks of all instances. Raises `SessionLockError` if the session is a shared one."""
        rows = (await self._ask(self._statement)).all()
        if any(row.me != self._session_id for row in rows):
            raise SessionLockError(
                f"statements of session {self._session_id} are answered by session {rows[0].me}: something "
                "between this replica and the server shares sessions, so that their locks mean nothing"
            )
        return Look(
            at=rows[0].now if rows else self._server_since,
            server=self._server,
            server_since=self._server_since,
            locks=[_seen(row) for row in rows],
        )

    async def _ask(self, statement: Select[Any]) -> Any:
        with keep_cancellation():  # the session outlives the statement, and would go on without it
            return await self._connection.execute(statement)


async def _opened(connection: AsyncConnection, lease_name: str, heard_within_s: float) -> LockSession:
    schema, session_id, now = (
        await connection.execute(select(func.database(), func.connection_id(), Now()))
    ).one()
    names = ", ".join(f"'{name}'" for name in _IDENTITY)
    found = await connection.execute(text(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))
    identity = sorted(f"{name}={value}" for name, value in found)
    ((_, uptime_s),) = await connection.execute(text("SHOW GLOBAL STATUS LIKE 'Uptime'"))
    raw = await connection.get_raw_connection()
    return LockSession(
        connection=connection,
        ended=ended(raw.driver_connection),
        schema=schema,
        server=hashlib.sha256("\n".join(identity).encode()).hexdigest()[:32],
        server_since=now - timedelta(seconds=int(uptime_s)),
        session_id=session_id,
        lease_name=lease_name,
        heard_within_s=heard_within_s,
    )


def _session(idle_s: int) -> str:
    """Prepares a session. Each comment is code to one of the two kinds of server."""
    return (
        f"SET time_zone = '+00:00', wait_timeout = {idle_s} "
        "/*M!100300 , max_statement_time = 0 */ /*!50708 , max_execution_time = 0 */"
    )


def _look(lease_name: str, heard_within_s: float) -> Select[Any]:
    rows, lock = runtime_instance.c, session_lock.c
    leads = and_(leader_lease.c.name == lease_name, leader_lease.c.holder == rows.instance_id)
    return (
        select(
            func.connection_id().label("me"),
            Now().label("now"),
            lock.instance_id, lock.lock_name, lock.server, lock.session_id, lock.taken_at, rows.heartbeat_at,
            func.is_used_lock(lock.lock_name).label("used_by"),
            leader_lease.c.holder.is_not(None).label("leads"),
        )
        .join_from(session_lock, runtime_instance, lock.instance_id == rows.instance_id)
        .outerjoin(leader_lease, leads)
        .where(
            rows.stopped_at.is_(None),
            lock.lock_name != "",  # the server takes it for an error, which would hide the other rows
            rows.heartbeat_at > func.timestampadd(text("SECOND"), -int(heard_within_s), Now()),
        )
        .order_by(leader_lease.c.holder.is_(None), lock.instance_id)
        .limit(_MOST)
    )  # fmt: skip


def _seen(row: Row[Any]) -> SeenLock:
    return SeenLock(
        instance_id=row.instance_id,
        lock=SessionLock(
            name=row.lock_name, server=row.server, session_id=row.session_id, taken_at=row.taken_at
        ),
        heartbeat_at=row.heartbeat_at,
        held=row.used_by == row.session_id,
        leads=bool(row.leads),
    )
