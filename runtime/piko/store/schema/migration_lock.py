"""One process at a time changes a schema.

On MySQL and MariaDB the lock is `GET_LOCK`, named after the database, and belongs to the connection that
migrates: a process that dies frees it. On SQLite it is the write transaction, and all revisions are one
transaction: a run that was cut off has changed nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import exc, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.errors import MigrationError


@asynccontextmanager
async def schema_locked(connection: AsyncConnection, *, lock_wait_s: float) -> AsyncIterator[None]:
    """Hold the lock. Raises `MigrationError` where it is not free within `lock_wait_s`."""
    hold = _sqlite_lock if connection.dialect.name == "sqlite" else _mysql_lock
    async with hold(connection, lock_wait_s):
        yield


@asynccontextmanager
async def _sqlite_lock(connection: AsyncConnection, lock_wait_s: float) -> AsyncIterator[None]:
    try:
        await connection.exec_driver_sql("BEGIN IMMEDIATE")
    except exc.OperationalError as error:
        raise _lock_not_free(connection, lock_wait_s, str(error.orig)) from error
    done = False
    try:
        yield
        done = True
    finally:
        await connection.exec_driver_sql("COMMIT" if done else "ROLLBACK")


@asynccontextmanager
async def _mysql_lock(connection: AsyncConnection, lock_wait_s: float) -> AsyncIterator[None]:
    # A lock's name is the whole server's, and at most 64 characters long; a database's name may be as long.
    database = (await connection.execute(select(func.database()))).scalar_one()
    name = f"piko_schema:{hashlib.sha256(database.encode()).hexdigest()[:40]}"
    if not (await connection.execute(select(func.get_lock(name, lock_wait_s)))).scalar_one():
        holder = (await connection.execute(select(func.is_used_lock(name)))).scalar_one()
        raise _lock_not_free(connection, lock_wait_s, f"server connection {holder} holds `{name}`")
    try:
        yield
    finally:
        if not connection.invalidated:
            await connection.execute(select(func.release_lock(name)))


def _lock_not_free(connection: AsyncConnection, lock_wait_s: float, holder: str) -> MigrationError:
    where = connection.engine.url.render_as_string(hide_password=True)
    return MigrationError(
        f"the schema of {where} is being changed by another process, and was not free within "
        f"{lock_wait_s:g} s ({holder}); run `piko db upgrade` again when that one is done"
    )
