"""How runs ended: the outcome and everything that follows from it, in one transaction.

With the row of a run go the watermark that it moved, the retry that takes over its due time, the summary of
its job, and the count of its backfill. A run ends once: the first outcome that is written stays. Nearly
always none of a batch has ended before. One count says so; only if it does not are the rows read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, bindparam, case, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, RunState
from piko.model.fences import InstanceFence, OutcomeFence
from piko.model.runs import Outcome
from piko.model.watermarks import Watermarks
from piko.store.backfills import count_ends, lock_backfills
from piko.store.engine import Database
from piko.store.fences import fenced
from piko.store.keyed import execute_keyed
from piko.store.locks import Handover, hand_over, lock_due_times
from piko.store.run_logs import write_results
from piko.store.run_rows import OUTCOME_COLUMNS, keep_known, lock_runs, outcome_row, run_row
from piko.store.schema.tables.runs import job_run
from piko.store.states import lock_states, summarise, summarised
from piko.store.upsert import write_rows
from piko.store.watermarks import lock_watermarks, move_watermarks


async def finish(database: Database, outcomes: Sequence[Outcome], fence: OutcomeFence) -> set[str]:
    """Record `outcomes`; the ids of the runs that ended so, see `RunStore.finish`."""
    async with fenced(database, fence) as connection:
        await lock_backfills(connection, outcomes)
        moves = [outcome.watermark for outcome in outcomes if outcome.watermark is not None]
        watermarks = await lock_watermarks(connection, [move.job_id for move in moves])
        await lock_due_times(connection, [item.run.due_time for item in outcomes if item.retry])
        if await _all_open(connection, outcomes, fence):
            fresh, recorded = list(outcomes), {outcome.run.run_id for outcome in outcomes}
        else:
            fresh, recorded = _unrecorded(outcomes, await _read_ends(connection, outcomes), fence)
        if fresh:
            await _write(connection, database, fresh, watermarks, fence)
            # Late, and so for a short time: each claim of these jobs writes the same rows.
            states = await lock_states(connection, summarised(outcomes))
            await summarise(connection, database, fresh, fence, watermarks=watermarks, before=states)
            await count_ends(connection, fresh)
    return recorded


async def _all_open(connection: AsyncConnection, outcomes: Sequence[Outcome], fence: OutcomeFence) -> bool:
    """Whether none of the runs has ended, as it is nearly always; then they stay so.

    Also, nothing is to be read from their rows: a leader that gives a run up does not know when it started.
    """
    if any(outcome.started_at is None for outcome in outcomes):
        return False
    if not outcomes:
        return True
    ids = sorted({outcome.run.run_id for outcome in outcomes})
    if isinstance(fence, InstanceFence):
        found = await execute_keyed(connection, _open_of_instance, ids, before=[fence.instance_id])
    else:
        found = await execute_keyed(connection, _open, ids)
    return bool(found.scalar_one() == len(outcomes))


def _open(run_ids: Sequence[str]) -> Select[Any]:
    return _count(_IS_OPEN, run_ids)


def _open_of_instance(run_ids: Sequence[str]) -> Select[Any]:
    return _count(and_(job_run.c.instance_id == bindparam("instance_id", ""), _IS_OPEN), run_ids)


_OPEN_STATES = (RunState.QUEUED, RunState.RUNNING)
_IS_OPEN = job_run.c.state.in_([literal_column(f"'{state.value}'") for state in _OPEN_STATES])


def _count(condition: ColumnElement[bool], run_ids: Sequence[str]) -> Select[Any]:
    # Asked of the rows, not for them: a server that looked by state would wait for claims in flight.
    count = select(func.count(case((condition, literal_column("1"))))).where(job_run.c.run_id.in_(run_ids))
    return count.with_for_update(skip_locked=True)


async def _write(
    connection: AsyncConnection,
    database: Database,
    outcomes: Sequence[Outcome],
    watermarks: Watermarks,
    fence: OutcomeFence,
) -> None:
    moves = [outcome.watermark for outcome in outcomes if outcome.watermark is not None]
    await move_watermarks(connection, moves, watermarks)
    retries = [(outcome.run, outcome.retry) for outcome in outcomes if outcome.retry is not None]
    handovers = [
        Handover(due_time=run.due_time, from_run=run.run_id, to_run=retry.run_id) for run, retry in retries
    ]
    await hand_over(connection, handovers, epoch=fence.epoch)
    rows = [outcome_row(outcome) for outcome in outcomes]
    await write_rows(connection, database, job_run, rows, update=OUTCOME_COLUMNS, merge=keep_known)
    queued = [run_row(retry, fence, now=None) for _, retry in retries]
    await write_rows(connection, database, job_run, queued)
    await write_results(connection, database, outcomes)


class _Ending(NamedTuple):
    """How a run has ended, or that it has not."""

    state: RunState
    started_at: datetime | None
    finished_at: datetime | None
    instance_id: str | None


async def _read_ends(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> dict[str, _Ending]:
    columns = job_run.c
    rows = await lock_runs(
        connection,
        [columns.state, columns.started_at, columns.finished_at, columns.instance_id],
        {outcome.run.run_id for outcome in outcomes},
    )
    return {
        row.run_id: _Ending(RunState(row.state), row.started_at, row.finished_at, row.instance_id)
        for row in rows
    }


def _unrecorded(
    outcomes: Sequence[Outcome], ends: dict[str, _Ending], fence: OutcomeFence
) -> tuple[list[Outcome], set[str]]:
    """Those of `outcomes` that are to be written, and the ids of all runs that will have ended so."""
    fresh: list[Outcome] = []
    recorded: set[str] = set()
    for outcome in outcomes:
        run_id = outcome.run.run_id
        end = ends.get(run_id)
        if isinstance(fence, InstanceFence) and (end is None or end.instance_id != fence.instance_id):
            continue
        if end is None or end.state not in FINAL_STATES:
            started_at = outcome.started_at or (None if end is None else end.started_at)
            fresh.append(replace(outcome, started_at=started_at))
            ends[run_id] = _Ending(outcome.state, started_at, outcome.finished_at, outcome.run.instance_id)
            recorded.add(run_id)
        elif (end.state, end.finished_at) == (outcome.state, outcome.finished_at):
            recorded.add(run_id)  # by our own first try, whose COMMIT was cut off
    return fresh, recorded
