"""Rows that somebody holds in an open transaction, and which jobs they belong to.

People edit rows of jobs by SQL, and some go to lunch before they COMMIT. Whatever they hold delays that job
and no other: a batch is never made to wait for one row. Reads that lock skip what is held and say whose it is
(`RowsLockedError`), and where a write has run into something that cannot be skipped, `held_jobs` looks for
it. SQLite has no locks of rows: there an open transaction stops every writer until it ends.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Column, ColumnElement, Table, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.errors import RowsLockedError
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.schema.tables.runs import job_lock, job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_DueTime = tuple[str, datetime]
_CHUNK = 500


def rows_locked(job_ids: Iterable[str]) -> RowsLockedError:
    """The error that names `job_ids`."""
    jobs = frozenset(job_ids)
    named = ", ".join(sorted(jobs)[:5]) + (", …" if len(jobs) > 5 else "")
    return RowsLockedError(f"rows of {named} are held by an open transaction", jobs=jobs)


async def lock_free(
    connection: AsyncConnection, columns: Sequence[Column[Any]], condition: ColumnElement[bool]
) -> list[Any]:
    """The rows of `condition` that nobody holds, locked until the transaction ends; by their first column."""
    statement = select(*columns).where(condition).order_by(columns[0]).with_for_update(skip_locked=True)
    return list(await connection.execute(statement))


async def held_keys(connection: AsyncConnection, column: Column[str], keys: Collection[str]) -> set[str]:
    """Of `keys` those that have a row; asked of what could not be locked, it is what somebody holds."""
    if not keys:
        return set()
    return set((await connection.execute(select(column).where(column.in_(sorted(keys))))).scalars())


async def held_jobs(
    database: Database,
    job_ids: Collection[str],
    *,
    run_ids: Collection[str] = (),
    due_times: Collection[_DueTime] = (),
) -> set[str]:
    """Of `job_ids` those of which somebody holds a row now; waits for nobody.

    Looked at are the rows of the jobs, the runs of `run_ids`, the locks of `due_times`, and the newest of
    both: who holds a range of a job's rows holds the newest, too.
    """
    if database.is_sqlite:
        return set()
    held: set[str] = set()
    for chunk in chunks(job_ids, size=_CHUNK):
        held |= await _held(database, scheduled_job, scheduled_job.c.job_id.in_(chunk))
        held |= await _held(database, job_state, job_state.c.job_id.in_(chunk))
        runs, times = await _newest(database, chunk)
        if runs := {*runs, *run_ids}:
            held |= await _held(database, job_run, job_run.c.run_id.in_(sorted(runs)))
        if times := {*times, *due_times}:
            keys = tuple_(job_lock.c.job_id, job_lock.c.scheduled_time)
            held |= await _held(database, job_lock, keys.in_(sorted(times)))
    return held & set(job_ids)


async def wait_for(
    database: Database, *, run_ids: Collection[str], due_times: Collection[_DueTime] = ()
) -> None:
    """Return when no transaction is open that writes these rows, or has inserted them.

    After a COMMIT whose answer never came, it is then certain whether it worked. Raises `RowsLockedError` if
    it is still uncertain.
    """
    if database.is_sqlite:
        return
    async with database.transaction() as connection:
        if run_ids:
            await connection.execute(
                select(job_run.c.run_id).where(job_run.c.run_id.in_(sorted(run_ids))).with_for_update()
            )
        if due_times:
            keys = tuple_(job_lock.c.job_id, job_lock.c.scheduled_time)
            await connection.execute(
                select(job_lock.c.run_id).where(keys.in_(sorted(due_times))).with_for_update()
            )


async def _held(database: Database, table: Table, condition: ColumnElement[bool]) -> set[str]:
    columns = [*table.primary_key.columns]
    owner = table.c.job_id
    if owner not in columns:
        columns.append(owner)
    async with database.transaction() as connection:
        free = {tuple(row) for row in await lock_free(connection, columns, condition)}
    async with database.statements() as connection:  # afterwards: what was inserted meanwhile looks held
        there = {tuple(row) for row in await connection.execute(select(*columns).where(condition))}
    place = columns.index(owner)
    return {row[place] for row in there - free}


async def _newest(database: Database, job_ids: Sequence[str]) -> tuple[set[str], set[_DueTime]]:
    states, locks = job_state.c, job_lock.c
    async with database.statements() as connection:
        last = await connection.execute(
            select(states.last_run_id).where(states.job_id.in_(job_ids), states.last_run_id.is_not(None))
        )
        runs = set(last.scalars())
        newest = await connection.execute(
            select(locks.job_id, func.max(locks.scheduled_time))
            .where(locks.job_id.in_(job_ids))
            .group_by(locks.job_id)
        )
        return runs, {(row[0], row[1]) for row in newest}
