"""Claims: who owns a due time, decided in one transaction for all that is due together.

A due time belongs to the run that inserts its `job_lock` row; the insert, the `job_run` row and the cursor
are one transaction under the fence. Nearly always nobody has claimed any of the batch before: then all of
it is inserted, and nothing is read. Where a primary key refuses that, it is done again the careful way,
which finds out row by row who owns a due time.

A COMMIT that is cut off has an unknown outcome. A claim keeps its token and run ids, so that the second
try finds what the first one wrote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, RunState
from piko.errors import DeadlockError
from piko.model.claims import ClaimBatch
from piko.model.fences import Fence
from piko.model.runs import DueTime, Run
from piko.model.watermarks import Watermarks
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.locks import Handover, LockHolder, hand_over, lock_rows, read_holders
from piko.store.progress import keep
from piko.store.run_rows import RUN_COLUMNS, passed_over_row, run_of, run_row
from piko.store.schema.tables.runs import job_lock, job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.states import PLAN, write_states
from piko.store.upsert import insert_rows, write_rows
from piko.store.watermarks import lock_watermarks, move_watermarks

_DEADLOCKS = 3
"""So often is a claim made again at once. MySQL breaks off one of two that insert the same due times."""

_Take = Callable[[AsyncConnection, Database, ClaimBatch, Watermarks, Fence], Awaitable[Sequence[Run]]]


class _DisputedError(Exception):
    """Not all of a batch can be had."""


async def claim(database: Database, batch: ClaimBatch, fence: Fence, *, now: datetime) -> dict[str, Run]:
    """Claim the batch; the runs that are ours, by id. Raises `FencedError`, and `RowsLockedError` where
    somebody holds a row of one of its jobs.

    A due time that another has claimed is left out. A window of a stateful job is claimed only where the
    watermark (after the batch's own moves) stands at its start; and again if its earlier run has ended.
    It then has the `attempt` that follows.
    """
    if not batch.again:
        try:
            return await _claim(database, batch, fence, now=now, take=_take_all)
        except (IntegrityError, DeadlockError, _DisputedError):
            # Somebody has claimed of it: another leader, or this one by a COMMIT that was cut off.
            pass
    for _ in range(_DEADLOCKS):
        with suppress(DeadlockError):  # the server has undone all of it
            return await _claim(database, batch, fence, now=now, take=_take_free)
    return await _claim(database, batch, fence, now=now, take=_take_free)


def is_to_do(run: Run, watermarks: Watermarks) -> bool:
    """Whether `run` is one that its job's watermark has not left."""
    if run.window is None or not run.follows_watermark:
        return True
    return watermarks.get(run.job_id) == run.window.start


async def _claim(
    database: Database, batch: ClaimBatch, fence: Fence, *, now: datetime, take: _Take
) -> dict[str, Run]:
    async with database.transaction() as connection:
        watermarks = await _move(connection, batch)
        if batch.completed:
            await connection.execute(
                update(scheduled_job)
                .where(scheduled_job.c.job_id.in_(sorted(batch.completed)))
                .values(completed_at=now)
            )
        claimed = await take(connection, database, batch, watermarks, fence)
        rows = [run_row(run, fence, now=now) for run in claimed]
        await write_rows(connection, database, job_run, rows)
        passed = [passed_over_row(item, fence, now=now) for item in batch.passed_over]
        await write_rows(connection, database, job_run, passed)
        await hold(connection, fence)
        # Last, and so for the shortest time: the ends of runs of these jobs lock the same rows.
        await write_states(connection, database, batch.states, fence, update=PLAN)
        await keep(connection, batch.watermarks, watermarks)
    return {run.run_id: run for run in claimed}


async def _move(connection: AsyncConnection, batch: ClaimBatch) -> Watermarks:
    """Make the batch's jumps, so that its windows are judged by the watermark that they begin at."""
    jobs = {run.job_id for run in batch.runs if run.follows_watermark}.union(batch.completed)
    watermarks = await lock_watermarks(connection, jobs.union(move.job_id for move in batch.watermarks))
    await move_watermarks(connection, batch.watermarks, watermarks)
    return watermarks


async def _take_all(
    connection: AsyncConnection, _database: Database, batch: ClaimBatch, watermarks: Watermarks, fence: Fence
) -> Sequence[Run]:
    """Take every lock of the batch, which nobody has taken, as it is nearly always; all its runs.

    Raises `IntegrityError` or `_DisputedError` where it is not so.
    """
    runs = {run.due_time: run.run_id for run in batch.runs if is_to_do(run, watermarks)}
    if len(runs) < len(batch.runs):
        raise _DisputedError
    locks = lock_rows(runs, token=batch.token, epoch=fence.epoch)
    await insert_rows(connection, job_lock, locks)
    return batch.runs


async def _take_free(
    connection: AsyncConnection, database: Database, batch: ClaimBatch, watermarks: Watermarks, fence: Fence
) -> Sequence[Run]:
    """Take the locks of the batch that can be had; the runs that have one."""
    to_do = [run for run in batch.runs if is_to_do(run, watermarks)]
    runs = {run.due_time: run.run_id for run in to_do}
    locks = lock_rows(runs, token=batch.token, epoch=fence.epoch)
    await write_rows(connection, database, job_lock, locks)
    # Of those that are not to be done (any more) a first try may have taken the lock.
    holders = await read_holders(connection, [run.due_time for run in batch.runs])
    earlier = await _earlier(connection, [run for run in batch.runs if run.window], holders)
    claimed, handovers = [], []
    for run in batch.runs:
        holder = holders.get(run.due_time)
        if holder is None:
            continue
        before = earlier.get(holder.run_id)
        if holder.claim_token == batch.token:
            if holder.run_id == run.run_id:
                claimed.append(run if before is None else replace(run, attempt=before.attempt))
        elif run.window is not None and run in to_do and (before is None or before.state in FINAL_STATES):
            # After a success the watermark was set back: a new beginning. Else: one more attempt.
            again = before is not None and before.state is not RunState.SUCCESS
            claimed.append(replace(run, attempt=before.attempt + 1) if again and before else run)
            handovers.append(Handover(due_time=run.due_time, from_run=holder.run_id, to_run=run.run_id))
    await hand_over(connection, handovers, epoch=fence.epoch, token=batch.token)
    return claimed


async def _earlier(
    connection: AsyncConnection, windows: Sequence[Run], holders: Mapping[DueTime, LockHolder]
) -> dict[str, Run]:
    """The runs that hold the locks of `windows`, by id; one that was pruned is left out."""
    ids = [holders[run.due_time].run_id for run in windows if run.due_time in holders]
    if not ids:
        return {}
    rows = await connection.execute(select(*RUN_COLUMNS).where(job_run.c.run_id.in_(sorted(ids))))
    return {run.run_id: run for run in (run_of(row._mapping) for row in rows)}
