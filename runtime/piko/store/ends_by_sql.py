"""Ends that a statement of a person brings about, completed with what an end has.

A person may set a run to `CANCELLED`, and may delete rows of runs. Nothing on the server adds the time and
the reason of such an end, or counts the window for its backfill, which would otherwise stay open. So the
leader does, and gives the cancellation its line in `change_log`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import case, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import BackfillState, RunState
from piko.model.backfills import OPEN_STATES
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.store.audited_backfills import AUDITED, settle_states
from piko.store.audited_watermarks import NOBODY
from piko.store.changes import log_change
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.held_rows import lock_free
from piko.store.schema.tables.backfills import backfill
from piko.store.schema.tables.runs import job_run

MOST = 100
"""Of each kind in one look; the next look goes on."""
_REASON = "a statement set its row to CANCELLED"
_UNENDED = (RunState.QUEUED, RunState.RUNNING)


class EndsBySql:
    """What takes a fence raises `FencedError`."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def complete_runs(self, fence: Fence, *, now: datetime) -> list[str]:
        """Give cancelled runs without an end their time, reason and line; their ids."""
        columns = job_run.c
        unfinished = (columns.state == RunState.CANCELLED, columns.finished_at.is_(None))
        async with self._database.statements() as connection:
            found = await connection.execute(select(columns.run_id).where(*unfinished).limit(MOST))
            run_ids = sorted(found.scalars())
        if not run_ids:
            return []
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            chosen = select(columns.run_id, columns.job_id, columns.started_at)
            rows = (
                await connection.execute(
                    chosen.where(columns.run_id.in_(run_ids), *unfinished)
                    .order_by(columns.run_id)
                    .with_for_update(skip_locked=True)
                )
            ).all()
            await connection.execute(
                update(job_run)
                .where(columns.run_id.in_([row.run_id for row in rows]))
                .values(finished_at=now, offered_at=None, error=func.coalesce(columns.error, _REASON))
            )
            for row in rows:
                before = RunState.QUEUED if row.started_at is None else RunState.RUNNING
                await log_change(
                    connection,
                    Actor(who=NOBODY, via="sql"),
                    "cancel",
                    job_id=row.job_id,
                    before={"run_id": row.run_id, "state": before},
                    after={"run_id": row.run_id, "state": RunState.CANCELLED},
                )
        return [row.run_id for row in rows]

    async def complete_backfills(self, fence: Fence, *, now: datetime) -> list[str]:
        """End backfills of which every window was claimed and no run is left; their ids.

        A window without a run that succeeded has failed.
        """
        columns = backfill.c
        claimed = (columns.state.in_(OPEN_STATES), columns.next_start >= columns.range_end)
        async with self._database.statements() as connection:
            found = await connection.execute(select(columns.backfill_id).where(*claimed).limit(MOST))
            ids = await _without_runs(connection, sorted(found.scalars()))
        ended = []
        for backfill_id in ids:
            async with self._database.transaction() as connection:
                await hold(connection, fence)
                if await _end(connection, backfill_id, now):
                    ended.append(backfill_id)
        return ended


async def _without_runs(connection: AsyncConnection, ids: Sequence[str]) -> list[str]:
    """Those of `ids` of which no run waits or runs."""
    if not ids:
        return []
    columns = job_run.c
    left = select(columns.backfill_id).where(columns.backfill_id.in_(ids), columns.state.in_(_UNENDED))
    busy = set((await connection.execute(left.distinct())).scalars())
    return [backfill_id for backfill_id in ids if backfill_id not in busy]


async def _end(connection: AsyncConnection, backfill_id: str, now: datetime) -> bool:
    """Whether it was there to be ended; one whose row somebody holds waits for the next look."""
    columns, run = backfill.c, job_run.c
    is_it = columns.backfill_id == backfill_id
    rows = await lock_free(connection, AUDITED, is_it)
    # Seen under its lock, which each writer of an outcome takes first: nothing of it is still to come.
    if not rows or rows[0].state not in OPEN_STATES or not await _without_runs(connection, [backfill_id]):
        return False
    await settle_states(connection, rows, now=now)
    of_it = (run.backfill_id == backfill_id, run.state == RunState.SUCCESS)
    succeeded = int(
        (await connection.execute(select(func.count(run.window_start.distinct())).where(*of_it))).scalar_one()
    )
    how = case(
        (columns.windows_total > succeeded, BackfillState.FAILED.value), else_=BackfillState.SUCCEEDED.value
    )
    await connection.execute(
        update(backfill)
        .where(is_it)
        .values(
            state=how,
            audited_state=how,
            windows_succeeded=succeeded,
            windows_failed=columns.windows_total - succeeded,
            finished_at=now,
            message=None,
        )
    )
    return True
