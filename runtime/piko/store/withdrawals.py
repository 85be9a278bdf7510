"""Runs that were claimed ahead and do not start where they were to: taken back, or queued again.

Both are for runs of which it is certain that they have not begun, and never will: the instance that has them
has let go of them, or can no longer write its start mark (see `piko.model.instances.StartMark`).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, null, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import RunState
from piko.model.claims import Withdrawal, states_before
from piko.model.fences import Fence
from piko.model.runs import Run
from piko.store.engine import Database
from piko.store.fences import fenced
from piko.store.locks import lock_due_times
from piko.store.run_rows import lock_runs
from piko.store.schema.tables.runs import job_lock, job_run
from piko.store.states import PLAN, lock_states, write_states


async def withdraw(
    database: Database, withdrawals: Sequence[Withdrawal], fence: Fence, *, now: datetime
) -> set[str]:
    """Take claims back; the ids of the runs that were still to start, see `RunStore.withdraw`."""
    async with fenced(database, fence) as connection:
        await lock_due_times(connection, [item.run.due_time for item in withdrawals])
        rows = await lock_runs(
            connection, [job_run.c.state, job_run.c.finished_at], {item.run.run_id for item in withdrawals}
        )
        # Ours already: by a first try whose COMMIT was cut off.
        found = {row.run_id: (RunState(row.state), row.finished_at) for row in rows}
        mine = [
            item
            for item in withdrawals
            if found.get(item.run.run_id) in (_open(item), (RunState.CANCELLED, now))
        ]
        if mine:
            await lock_states(connection, {item.job_id for item in mine})
            await _free_due_times(connection, [item.run for item in mine])
            await _end(connection, mine, now=now)
            await write_states(connection, database, states_before(mine), fence, update=PLAN)
    return {item.run.run_id for item in mine}


async def requeue(database: Database, runs: Sequence[Run], fence: Fence) -> set[str]:
    """Let runs wait for their time again; the ids of those that do, see `RunStore.requeue`."""
    async with fenced(database, fence) as connection:
        columns = job_run.c
        ids = {run.run_id for run in runs}
        rows = await lock_runs(connection, [columns.state, columns.instance_id, columns.starts_at], ids)
        instances = {run.run_id: run.instance_id for run in runs}
        unstarted = {
            row.run_id
            for row in rows
            if row.state == RunState.RUNNING
            and row.instance_id == instances[row.run_id]
            and row.starts_at is not None
        }
        if unstarted:
            await connection.execute(
                update(job_run)
                .where(columns.run_id.in_(sorted(unstarted)))
                # In this order: MySQL assigns one after the other.
                .ordered_values(
                    (columns.not_before, columns.starts_at),
                    (columns.starts_at, null()),
                    (columns.started_at, null()),
                    (columns.instance_id, null()),
                    (columns.state, RunState.QUEUED.value),
                )
            )
    return unstarted | {row.run_id for row in rows if row.state == RunState.QUEUED}


def _open(item: Withdrawal) -> tuple[RunState, None]:
    return RunState.QUEUED if item.queued else RunState.RUNNING, None


async def _free_due_times(connection: AsyncConnection, runs: Sequence[Run]) -> None:
    keys = tuple_(job_lock.c.job_id, job_lock.c.scheduled_time)
    await connection.execute(
        delete(job_lock).where(
            keys.in_(sorted(run.due_time for run in runs)),
            job_lock.c.run_id.in_(sorted(run.run_id for run in runs)),
        )
    )


async def _end(connection: AsyncConnection, withdrawals: Sequence[Withdrawal], *, now: datetime) -> None:
    by_reason: dict[str, list[str]] = {}
    for item in withdrawals:
        by_reason.setdefault(item.why, []).append(item.run.run_id)
    for why, ids in by_reason.items():
        await connection.execute(
            update(job_run)
            .where(job_run.c.run_id.in_(sorted(ids)))
            .values(state=RunState.CANCELLED, started_at=None, finished_at=now, error=why)
        )
