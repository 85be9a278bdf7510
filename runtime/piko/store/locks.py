"""`job_lock`: who owns a due time.

A due time belongs to the run whose batch inserts its row. The row carries the token of the batch that
inserted it, by which the batch knows what it has won, also when it is written a second time; and it names
the run that holds the due time now, which a retry takes over from the run before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, case, literal, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.runs import DueTime
from piko.store.held_rows import lock_free, rows_locked
from piko.store.schema.column_types import KEY
from piko.store.schema.tables.runs import job_lock


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """Whose a due time is now."""

    run_id: str
    claim_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A due time goes from the run that held it to its next attempt."""

    due_time: DueTime
    from_run: str
    to_run: str


def lock_rows(runs: Mapping[DueTime, str], *, token: str, epoch: int) -> list[dict[str, object]]:
    """A lock for each of `runs` (run id by due time), in one order everywhere, against deadlocks."""
    return [
        {
            "job_id": job_id,
            "scheduled_time": scheduled_time,
            "run_id": runs[job_id, scheduled_time],
            "claim_token": token,
            "epoch": epoch,
        }
        for job_id, scheduled_time in sorted(runs)
    ]


async def read_holders(
    connection: AsyncConnection, due_times: Sequence[DueTime]
) -> dict[DueTime, LockHolder]:
    """Whose `due_times` are; one that nobody has ever claimed is left out."""
    if not due_times:
        return {}
    rows = await connection.execute(
        select(job_lock.c.job_id, job_lock.c.scheduled_time, job_lock.c.run_id, job_lock.c.claim_token).where(
            _is_one_of(due_times)
        )
    )
    return {
        (row.job_id, row.scheduled_time): LockHolder(run_id=row.run_id, claim_token=row.claim_token)
        for row in rows
    }


async def lock_due_times(connection: AsyncConnection, due_times: Sequence[DueTime]) -> None:
    """Let nobody else change whose `due_times` are. Raises `RowsLockedError` where somebody holds one."""
    if not due_times:
        return
    columns = [job_lock.c.job_id, job_lock.c.scheduled_time]
    rows = await lock_free(connection, columns, _is_one_of(due_times))
    missing = set(due_times) - {(row.job_id, row.scheduled_time) for row in rows}
    if missing:
        there = await connection.execute(select(job_lock.c.job_id).where(_is_one_of(sorted(missing))))
        if held := set(there.scalars()):
            raise rows_locked(held)


async def hand_over(
    connection: AsyncConnection, handovers: Iterable[Handover], *, epoch: int, token: str | None = None
) -> None:
    """Make `handovers` where the lock still names `from_run`; under a new claim token, if one is given."""
    changes = list(handovers)
    if not changes:
        return
    successors = {change.from_run: literal(change.to_run, KEY) for change in changes}
    claimed = {} if token is None else {"claim_token": token}
    await connection.execute(
        update(job_lock)
        .where(_is_one_of([change.due_time for change in changes]))
        .where(job_lock.c.run_id.in_(sorted(successors)))
        .values(run_id=case(successors, value=job_lock.c.run_id), epoch=epoch, **claimed)
    )


def _is_one_of(due_times: Sequence[DueTime]) -> ColumnElement[bool]:
    return tuple_(job_lock.c.job_id, job_lock.c.scheduled_time).in_(sorted(due_times))
