"""`job_run` and `job_lock`: claims, outcomes, and the queue of what waits.

A due window belongs to whoever inserts its `job_lock` row; the insert, the `job_run` row and the cursor are
one transaction under the fence. Batches are the unit: one statement for many rows, with placeholders only,
so that the driver's multi-row insert applies.

A COMMIT that is cut off has an unknown outcome. Every write here can therefore be made again as it was:
a claim keeps its token and run ids, so that the second try finds what the first one wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Select, and_, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, RunState
from piko.store.backfills import count_ends, lock_backfills
from piko.store.engine import Database
from piko.store.leases import Fence
from piko.store.locks import DueTime, Handover, Holder, hand_over, insert_locks, read_holders
from piko.store.run_rows import (
    OUTCOME_COLUMNS,
    RUN_COLUMNS,
    Outcome,
    PassedOver,
    Run,
    outcome_row,
    passed_over_row,
    run_of,
    run_row,
)
from piko.store.states import LAST, PLAN, JobState, existing_states, write_states
from piko.store.tables import job_run, scheduled_job
from piko.store.upsert import upsert
from piko.store.watermarks import WatermarkMove, Watermarks, lock_watermarks, move_watermarks


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBatch:
    """What becomes due together. Written again after an unknown COMMIT, it finds its own first try."""

    token: str
    runs: Sequence[Run]
    passed_over: Sequence[PassedOver]
    states: Sequence[JobState]
    completed: Collection[str] = ()
    """Jobs whose `date` schedule has fired now."""
    watermarks: Sequence[WatermarkMove] = ()
    """Jumps over windows that are passed over."""


class RunStore:
    """Claims and outcomes, each conditional on the fence.

    Every transaction here locks rows in one order, against deadlocks: the lease, backfills, schedules, locks,
    runs, states; and within a table by key.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def claim(self, batch: ClaimBatch, fence: Fence, *, now: datetime) -> dict[str, Run]:
        """Claim the batch; the runs that are ours, by id. Raises `FencedError`.

        A due time that another has claimed is left out. A window of a stateful job is claimed only where the
        watermark (after the batch's own moves) stands at its start; and anew where its earlier run has ended.
        It then has the `attempt` that follows.
        """
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            watermarks = await self._move(connection, batch)
            if batch.completed:
                await connection.execute(
                    update(scheduled_job)
                    .where(scheduled_job.c.job_id.in_(sorted(batch.completed)))
                    .values(completed_at=now)
                )
            claimed = await self._take(connection, batch, watermarks, fence)
            rows = [run_row(run, fence, now=now) for run in claimed]
            if rows:
                await connection.execute(upsert(self._database, job_run, update=()), rows)
            passed = [passed_over_row(item, fence, now=now) for item in batch.passed_over]
            if passed:
                await connection.execute(upsert(self._database, job_run, update=()), passed)
            await write_states(connection, self._database, batch.states, fence, update=PLAN)
        return {run.run_id: run for run in claimed}

    async def start(self, runs: Sequence[Run], fence: Fence, *, now: datetime) -> set[str]:
        """Move queued runs to RUNNING for `run.instance_id`; the run ids that were still queued.

        A window that the watermark has left meanwhile is SKIPPED instead. Raises `FencedError`.
        """
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            following = [run for run in runs if run.follows_watermark]
            watermarks = await lock_watermarks(connection, [run.job_id for run in following])
            overtaken = {run.run_id for run in following if not _is_to_do(run, watermarks)}
            ours: set[str] = set()
            for instance_id in sorted({run.instance_id or "" for run in runs}):
                ids = [run.run_id for run in runs if (run.instance_id or "") == instance_id]
                ours |= await _begin(
                    connection,
                    [run_id for run_id in ids if run_id not in overtaken],
                    instance_id,
                    fence,
                    now=now,
                )
            if overtaken:
                await connection.execute(
                    update(job_run)
                    .where(job_run.c.run_id.in_(sorted(overtaken)), job_run.c.state == RunState.QUEUED)
                    .values(
                        state=RunState.SKIPPED,
                        finished_at=now,
                        error="the watermark was set to another instant while it waited",
                    )
                )
        return ours

    async def finish(self, outcomes: Sequence[Outcome], fence: Fence) -> set[str]:
        """Record outcomes with their watermarks, retries and summaries; the run ids that ended as told.

        A run that has ended in another way before keeps that end, and its outcome has no effect: it was given
        up, or cancelled by hand. Raises `FencedError`.
        """
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            await lock_backfills(connection, outcomes)
            moves = [outcome.watermark for outcome in outcomes if outcome.watermark is not None]
            watermarks = await lock_watermarks(connection, [move.job_id for move in moves])
            ends = await _read_ends(connection, [outcome.run.run_id for outcome in outcomes])
            fresh: list[Outcome] = []
            told: set[str] = set()
            for outcome in outcomes:
                run_id = outcome.run.run_id
                end = ends.get(run_id)
                if end is None or end.state not in FINAL_STATES:
                    started_at = outcome.started_at or (None if end is None else end.started_at)
                    fresh.append(replace(outcome, started_at=started_at))
                    ends[run_id] = _End(outcome.state, started_at, outcome.finished_at)
                    told.add(run_id)
                elif (end.state, end.finished_at) == (outcome.state, outcome.finished_at):
                    told.add(run_id)  # by our own first try, whose COMMIT was cut off
            if fresh:
                await self._write_outcomes(connection, fresh, watermarks, fence)
                await count_ends(connection, fresh)
        return told

    async def queued(self, *, limit: int = 1000) -> list[Run]:
        """What waits: the highest priority first, then the oldest."""
        statement = (
            select(*RUN_COLUMNS)
            .where(job_run.c.state == RunState.QUEUED)
            .order_by(job_run.c.priority.desc(), job_run.c.scheduled_time)
            .limit(limit)
        )
        return await self._runs(statement)

    async def running(self) -> list[Run]:
        """Every run that is recorded as in progress, on whatever instance."""
        return await self._runs(select(*RUN_COLUMNS).where(job_run.c.state == RunState.RUNNING))

    async def _runs(self, statement: Select[Any]) -> list[Run]:
        async with self._database.statements() as connection:
            return [run_of(row._mapping) for row in await connection.execute(statement)]

    async def _move(self, connection: AsyncConnection, batch: ClaimBatch) -> Watermarks:
        """Make the batch's jumps, so that its windows are judged by the watermark that they begin at."""
        jobs = {run.job_id for run in batch.runs if run.follows_watermark}
        watermarks = await lock_watermarks(connection, jobs.union(move.job_id for move in batch.watermarks))
        await move_watermarks(connection, batch.watermarks, watermarks)
        return watermarks

    async def _take(
        self, connection: AsyncConnection, batch: ClaimBatch, watermarks: Watermarks, fence: Fence
    ) -> list[Run]:
        """Take the locks of the batch; the runs that have one."""
        to_do = [run for run in batch.runs if not run.follows_watermark or _is_to_do(run, watermarks)]
        runs = {run.due_time: run.run_id for run in to_do}
        await insert_locks(connection, self._database, runs, token=batch.token, epoch=fence.epoch)
        # Of those that are not to be done (any more) a first try may have taken the lock.
        holders = await read_holders(connection, [run.due_time for run in batch.runs])
        earlier = await self._earlier(connection, [run for run in batch.runs if run.window], holders)
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
        self, connection: AsyncConnection, windows: Sequence[Run], holders: Mapping[DueTime, Holder]
    ) -> dict[str, Run]:
        """The runs that hold the locks of `windows`, by id; one that was pruned is left out."""
        ids = [holders[run.due_time].run_id for run in windows if run.due_time in holders]
        if not ids:
            return {}
        rows = await connection.execute(select(*RUN_COLUMNS).where(job_run.c.run_id.in_(sorted(ids))))
        return {run.run_id: run for run in (run_of(row._mapping) for row in rows)}

    async def _write_outcomes(
        self, connection: AsyncConnection, outcomes: Sequence[Outcome], watermarks: Watermarks, fence: Fence
    ) -> None:
        moves = [outcome.watermark for outcome in outcomes if outcome.watermark is not None]
        await move_watermarks(connection, moves, watermarks)
        retries = [(outcome.run, outcome.retry) for outcome in outcomes if outcome.retry is not None]
        handovers = [
            Handover(due_time=run.due_time, from_run=run.run_id, to_run=retry.run_id)
            for run, retry in retries
        ]
        await hand_over(connection, handovers, epoch=fence.epoch)
        rows = [outcome_row(outcome, fence) for outcome in outcomes]
        await connection.execute(upsert(self._database, job_run, update=OUTCOME_COLUMNS), rows)
        if retries:
            queued = [run_row(retry, fence, now=None) for _, retry in retries]
            await connection.execute(upsert(self._database, job_run, update=()), queued)
        states = {item.job_state.job_id: item.job_state for item in outcomes if item.job_state is not None}
        # A job that was deleted meanwhile must not come back by its last run.
        present = await existing_states(connection, states)
        kept = [state for job_id, state in states.items() if job_id in present]
        await write_states(connection, self._database, kept, fence, update=LAST)


class _End(NamedTuple):
    """How a run has ended, or that it has not."""

    state: RunState
    started_at: datetime | None
    finished_at: datetime | None


async def _read_ends(connection: AsyncConnection, run_ids: Collection[str]) -> dict[str, _End]:
    statement = (
        select(job_run.c.run_id, job_run.c.state, job_run.c.started_at, job_run.c.finished_at)
        .where(job_run.c.run_id.in_(sorted(run_ids)))
        .order_by(job_run.c.run_id)
        .with_for_update()
    )
    rows = await connection.execute(statement)
    return {row.run_id: _End(RunState(row.state), row.started_at, row.finished_at) for row in rows}


async def _begin(
    connection: AsyncConnection, run_ids: Sequence[str], instance_id: str, fence: Fence, *, now: datetime
) -> set[str]:
    if not run_ids:
        return set()
    # Ours already: by a first try whose COMMIT was cut off.
    ours = and_(
        job_run.c.state == RunState.RUNNING,
        job_run.c.instance_id == instance_id,
        job_run.c.epoch == fence.epoch,
    )
    found = await connection.execute(
        select(job_run.c.run_id)
        .where(job_run.c.run_id.in_(sorted(run_ids)), or_(job_run.c.state == RunState.QUEUED, ours))
        .order_by(job_run.c.run_id)
        .with_for_update()
    )
    begun = set(found.scalars())
    if begun:
        await connection.execute(
            update(job_run)
            .where(job_run.c.run_id.in_(sorted(begun)))
            .values(
                state=RunState.RUNNING,
                instance_id=instance_id,
                epoch=fence.epoch,
                claimed_at=now,
                started_at=now,
            )
        )
    return begun


def _is_to_do(run: Run, watermarks: Watermarks) -> bool:
    return run.window is not None and watermarks.get(run.job_id) == run.window.start


async def insert_queued(database: Database, run: Run) -> None:
    """Queue a run from outside the leader: a manual trigger. It needs no lock and no fence."""
    async with database.transaction() as connection:
        row = run_row(run, Fence(name="", epoch=0), now=None)
        await connection.execute(insert(job_run), [{**row, "epoch": None}])
