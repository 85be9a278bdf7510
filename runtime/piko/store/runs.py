"""`job_run` and `job_lock`: claims, outcomes, and the queue of what waits.

A due window belongs to whoever inserts its `job_lock` row; the insert, the `job_run` row and the cursor are
one transaction under the fence. Batches are the unit: one statement for many rows, with placeholders only,
so that the driver's multi-row insert applies.

A COMMIT that is cut off has an unknown outcome. Every write here can therefore be made again as it was:
a claim keeps its token and run ids, so that the second try finds what the first one wrote.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, RunState
from piko.errors import DeadlockError
from piko.store.backfills import count_ends, lock_backfills
from piko.store.engine import Database
from piko.store.instances import InstanceFence
from piko.store.leases import Fence
from piko.store.locks import DueTime, Handover, Holder, hand_over, lock_rows, read_holders
from piko.store.run_rows import (
    OUTCOME_COLUMNS,
    RUN_COLUMNS,
    Outcome,
    OutcomeFence,
    PassedOver,
    Run,
    keep_known,
    outcome_row,
    passed_over_row,
    run_of,
    run_row,
)
from piko.store.states import PLAN, JobState, summarise, write_states
from piko.store.tables import job_lock, job_run, leader_lease, scheduled_job
from piko.store.upsert import insert_rows, write_rows
from piko.store.watermarks import (
    WatermarkMove,
    Watermarks,
    lock_watermarks,
    move_watermarks,
    read_watermarks,
)

_CHUNK = 500

_Take = Callable[[AsyncConnection, "ClaimBatch", Watermarks, Fence], Awaitable[Sequence[Run]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBatch:
    """What becomes due together. Written again after an unknown COMMIT, it finds its own first try."""

    token: str
    runs: Sequence[Run]
    passed_over: Sequence[PassedOver]
    states: Sequence[JobState]
    again: bool = False
    """Whether there is a window among the runs that was claimed before, and failed."""
    completed: Collection[str] = ()
    """Jobs whose `date` schedule has fired now."""
    watermarks: Sequence[WatermarkMove] = ()
    """Jumps over windows that are passed over."""


class RunStore:
    """Claims and outcomes, each conditional on its fence.

    Every transaction here locks rows in one order, against deadlocks: the lease, instances, backfills,
    schedules, locks, runs, states; and within a table by key.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def claim(self, batch: ClaimBatch, fence: Fence, *, now: datetime) -> dict[str, Run]:
        """Claim the batch; the runs that are ours, by id. Raises `FencedError`.

        A due time that another has claimed is left out. A window of a stateful job is claimed only where the
        watermark (after the batch's own moves) stands at its start; and anew where its earlier run has ended.
        It then has the `attempt` that follows.
        """
        if not batch.again:
            try:
                return await self._claim(batch, fence, now=now, take=self._take_all)
            except (IntegrityError, DeadlockError, _DisputedError):
                # Somebody has claimed of it: another leader, or this one by a COMMIT that was cut off.
                pass
        return await self._claim(batch, fence, now=now, take=self._take_free)

    async def _claim(self, batch: ClaimBatch, fence: Fence, *, now: datetime, take: _Take) -> dict[str, Run]:
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            watermarks = await self._move(connection, batch)
            if batch.completed:
                await connection.execute(
                    update(scheduled_job)
                    .where(scheduled_job.c.job_id.in_(sorted(batch.completed)))
                    .values(completed_at=now)
                )
            claimed = await take(connection, batch, watermarks, fence)
            rows = [run_row(run, fence, now=now) for run in claimed]
            await write_rows(connection, self._database, job_run, rows)
            passed = [passed_over_row(item, fence, now=now) for item in batch.passed_over]
            await write_rows(connection, self._database, job_run, passed)
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
                await _skip(connection, overtaken, now=now)
        return ours

    async def offer(self, runs: Sequence[Run], fence: Fence) -> set[str]:
        """Let any replica take queued runs, from `run.offered_at` on; the run ids that were still there.

        Raises `FencedError`.
        """
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            rows = await connection.execute(
                select(job_run.c.run_id, job_run.c.state)
                .where(job_run.c.run_id.in_(sorted(run.run_id for run in runs)))
                .order_by(job_run.c.run_id)
                .with_for_update()
            )
            states = {row.run_id: row.state for row in rows}
            queued = [run for run in runs if states.get(run.run_id) == RunState.QUEUED]
            for run in queued:
                await connection.execute(
                    update(job_run)
                    .where(job_run.c.run_id == run.run_id)
                    .values(offered_at=run.offered_at, config_revision=run.config_revision, epoch=fence.epoch)
                )
        # What is not queued any more was offered by a first try whose COMMIT was cut off, and taken since.
        return set(states)

    async def take(
        self,
        instance_id: str,
        *,
        lease: str,
        limit: int,
        now: datetime,
        knows: Callable[[str], bool],
        leaving: Collection[str] = (),
    ) -> tuple[list[Run], list[Run]]:
        """Take up to `limit` runs that are offered, in their order, of jobs that the replica `knows`.

        What was taken is RUNNING on `instance_id` now; the second list is what was found of jobs that it does
        not know, and left. Jobs of `leaving` are not looked at. Replicas that take at the same time take
        different runs. A window that the watermark has left meanwhile is SKIPPED instead.
        """
        async with self._database.transaction() as connection:
            found = await connection.execute(
                select(*RUN_COLUMNS)
                .where(*_offered(), job_run.c.job_id.not_in(sorted(leaving)))
                .order_by(job_run.c.offered_at)
                .limit(limit)
                .with_for_update(skip_locked=True)
            )
            rows = [run_of(row._mapping) for row in found]
            offered = [run for run in rows if knows(run.job_id)]
            left = [run for run in rows if not knows(run.job_id)]
            if not offered:
                return [], left
            watermarks = await read_watermarks(
                connection, [run.job_id for run in offered if run.follows_watermark]
            )
            overtaken = [
                run.run_id for run in offered if run.follows_watermark and not _is_to_do(run, watermarks)
            ]
            if overtaken:
                await _skip(connection, overtaken, now=now)
            # The epoch of now: what was begun under one that this instance has lost would be refused.
            epochs = select(leader_lease.c.epoch).where(leader_lease.c.name == lease)
            epoch = (await connection.execute(epochs)).scalar_one_or_none() or 0
            taken = [
                replace(
                    run,
                    state=RunState.RUNNING,
                    instance_id=instance_id,
                    epoch=max(epoch, run.epoch or 0),
                    offered_at=None,
                )
                for run in offered
                if run.run_id not in overtaken
            ]
            for number in {run.epoch for run in taken}:
                await connection.execute(
                    update(job_run)
                    .where(job_run.c.run_id.in_(sorted(run.run_id for run in taken if run.epoch == number)))
                    .values(
                        state=RunState.RUNNING,
                        instance_id=instance_id,
                        epoch=number,
                        offered_at=None,
                        started_at=now,
                    )
                )
        return taken, left

    async def finish(self, outcomes: Sequence[Outcome], fence: OutcomeFence) -> set[str]:
        """Record outcomes with their watermarks, retries and summaries; the run ids that ended as told.

        A run that has ended in another way before keeps that end, and its outcome has no effect: it was given
        up, or cancelled by hand; so does one that is another instance's. Raises `FencedError`.
        """
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            await lock_backfills(connection, outcomes)
            moves = [outcome.watermark for outcome in outcomes if outcome.watermark is not None]
            watermarks = await lock_watermarks(connection, [move.job_id for move in moves])
            if await self._all_open(connection, outcomes, fence):
                fresh, told = list(outcomes), {outcome.run.run_id for outcome in outcomes}
            else:
                fresh, told = _tell(outcomes, await _read_ends(connection, outcomes), fence)
            if fresh:
                await self._write_outcomes(connection, fresh, watermarks, fence)
                await count_ends(connection, fresh)
        return told

    async def queued(self, *, limit: int = 1000, offered: bool = True) -> list[Run]:
        """What waits: the highest priority first, then the oldest; also what is `offered` already."""
        waits = job_run.c.state == RunState.QUEUED
        statement = (
            select(*RUN_COLUMNS)
            .where(waits if offered else and_(waits, job_run.c.offered_at.is_(None)))
            .order_by(job_run.c.priority.desc(), job_run.c.scheduled_time)
            .limit(limit)
        )
        return await self._runs(statement)

    async def running(self, *, on: str | None = None) -> list[Run]:
        """Every run that is recorded as in progress, on whatever instance or on that one."""
        statement = select(*RUN_COLUMNS).where(job_run.c.state == RunState.RUNNING)
        return await self._runs(statement if on is None else statement.where(job_run.c.instance_id == on))

    async def offered(self) -> list[Run]:
        """Every run that waits for a replica to take it."""
        return await self._runs(select(*RUN_COLUMNS).where(*_offered()))

    async def count_offered(self) -> int:
        """How many runs wait for a replica to take them."""
        async with self._database.statements() as connection:
            statement = select(func.count()).select_from(job_run).where(*_offered())
            return int((await connection.execute(statement)).scalar_one())

    async def running_on(self, instance_id: str) -> set[str]:
        """The runs that are in progress on that instance, by the database's account."""
        statement = select(job_run.c.run_id).where(
            job_run.c.state == RunState.RUNNING, job_run.c.instance_id == instance_id
        )
        async with self._database.statements() as connection:
            return set((await connection.execute(statement)).scalars())

    async def states(self, run_ids: Collection[str]) -> dict[str, RunState]:
        """The state of each of `run_ids` that has a row."""
        found: dict[str, RunState] = {}
        ids = sorted(run_ids)
        async with self._database.statements() as connection:
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                statement = select(job_run.c.run_id, job_run.c.state).where(job_run.c.run_id.in_(chunk))
                found.update((row.run_id, RunState(row.state)) for row in await connection.execute(statement))
        return found

    async def _runs(self, statement: Select[Any]) -> list[Run]:
        async with self._database.statements() as connection:
            return [run_of(row._mapping) for row in await connection.execute(statement)]

    async def _move(self, connection: AsyncConnection, batch: ClaimBatch) -> Watermarks:
        """Make the batch's jumps, so that its windows are judged by the watermark that they begin at."""
        jobs = {run.job_id for run in batch.runs if run.follows_watermark}
        watermarks = await lock_watermarks(connection, jobs.union(move.job_id for move in batch.watermarks))
        await move_watermarks(connection, batch.watermarks, watermarks)
        return watermarks

    async def _take_all(
        self, connection: AsyncConnection, batch: ClaimBatch, watermarks: Watermarks, fence: Fence
    ) -> Sequence[Run]:
        """Take every lock of the batch, which nobody has taken, as it is nearly always; all its runs.

        Raises `IntegrityError` or `_DisputedError` where it is not so.
        """
        runs = {run.due_time: run.run_id for run in batch.runs if _is_to_do(run, watermarks)}
        if len(runs) < len(batch.runs):
            raise _DisputedError
        locks = lock_rows(runs, token=batch.token, epoch=fence.epoch)
        await insert_rows(connection, job_lock, locks)
        return batch.runs

    async def _take_free(
        self, connection: AsyncConnection, batch: ClaimBatch, watermarks: Watermarks, fence: Fence
    ) -> Sequence[Run]:
        """Take the locks of the batch that can be had; the runs that have one."""
        to_do = [run for run in batch.runs if _is_to_do(run, watermarks)]
        runs = {run.due_time: run.run_id for run in to_do}
        locks = lock_rows(runs, token=batch.token, epoch=fence.epoch)
        await write_rows(connection, self._database, job_lock, locks)
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

    async def _all_open(
        self, connection: AsyncConnection, outcomes: Sequence[Outcome], fence: OutcomeFence
    ) -> bool:
        """Whether none of the runs has ended, as it is nearly always; then they stay so.

        And nothing is to be read of them: who gives a run up does not know when it had started.
        """
        if any(outcome.started_at is None for outcome in outcomes):
            return False
        ids = sorted({outcome.run.run_id for outcome in outcomes})
        is_open: ColumnElement[bool] = job_run.c.state.in_([RunState.QUEUED, RunState.RUNNING])
        if isinstance(fence, InstanceFence):
            is_open = and_(is_open, job_run.c.instance_id == fence.instance_id)
        # Asked of the rows, not for them: a server that looked by state would wait for claims in flight.
        statement = select(func.count(case((is_open, 1)))).where(job_run.c.run_id.in_(ids)).with_for_update()
        return (await connection.execute(statement)).scalar_one() == len(outcomes)

    async def _write_outcomes(
        self,
        connection: AsyncConnection,
        outcomes: Sequence[Outcome],
        watermarks: Watermarks,
        fence: OutcomeFence,
    ) -> None:
        moves = [outcome.watermark for outcome in outcomes if outcome.watermark is not None]
        await move_watermarks(connection, moves, watermarks)
        retries = [(outcome.run, outcome.retry) for outcome in outcomes if outcome.retry is not None]
        handovers = [
            Handover(due_time=run.due_time, from_run=run.run_id, to_run=retry.run_id)
            for run, retry in retries
        ]
        await hand_over(connection, handovers, epoch=fence.epoch)
        rows = [outcome_row(outcome) for outcome in outcomes]
        await write_rows(connection, self._database, job_run, rows, update=OUTCOME_COLUMNS, merge=keep_known)
        queued = [run_row(retry, fence, now=None) for _, retry in retries]
        await write_rows(connection, self._database, job_run, queued)
        await summarise(connection, self._database, outcomes, fence)


def _offered() -> tuple[ColumnElement[bool], ...]:
    return job_run.c.offered_at.is_not(None), job_run.c.state == RunState.QUEUED


class _DisputedError(Exception):
    """Not all of a batch can be had."""


class _End(NamedTuple):
    """How a run has ended, or that it has not."""

    state: RunState
    started_at: datetime | None
    finished_at: datetime | None
    instance_id: str | None


async def _read_ends(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> dict[str, _End]:
    statement = (
        select(
            job_run.c.run_id,
            job_run.c.state,
            job_run.c.started_at,
            job_run.c.finished_at,
            job_run.c.instance_id,
        )
        .where(job_run.c.run_id.in_(sorted(outcome.run.run_id for outcome in outcomes)))
        .order_by(job_run.c.run_id)
        .with_for_update()
    )
    rows = await connection.execute(statement)
    return {
        row.run_id: _End(RunState(row.state), row.started_at, row.finished_at, row.instance_id)
        for row in rows
    }


def _tell(
    outcomes: Sequence[Outcome], ends: dict[str, _End], fence: OutcomeFence
) -> tuple[list[Outcome], set[str]]:
    """Which of `outcomes` are to be written, and the runs that have ended as told."""
    fresh: list[Outcome] = []
    told: set[str] = set()
    for outcome in outcomes:
        run_id = outcome.run.run_id
        end = ends.get(run_id)
        if isinstance(fence, InstanceFence) and (end is None or end.instance_id != fence.instance_id):
            continue
        if end is None or end.state not in FINAL_STATES:
            started_at = outcome.started_at or (None if end is None else end.started_at)
            fresh.append(replace(outcome, started_at=started_at))
            ends[run_id] = _End(outcome.state, started_at, outcome.finished_at, outcome.run.instance_id)
            told.add(run_id)
        elif (end.state, end.finished_at) == (outcome.state, outcome.finished_at):
            told.add(run_id)  # by our own first try, whose COMMIT was cut off
    return fresh, told


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
                offered_at=None,
                claimed_at=now,
                started_at=now,
            )
        )
    return begun


async def _skip(connection: AsyncConnection, run_ids: Collection[str], *, now: datetime) -> None:
    await connection.execute(
        update(job_run)
        .where(job_run.c.run_id.in_(sorted(run_ids)), job_run.c.state == RunState.QUEUED)
        .values(
            state=RunState.SKIPPED,
            offered_at=None,
            finished_at=now,
            error="the watermark was set to another instant while it waited",
        )
    )


def _is_to_do(run: Run, watermarks: Watermarks) -> bool:
    if run.window is None or not run.follows_watermark:
        return True
    return watermarks.get(run.job_id) == run.window.start


async def insert_queued(database: Database, run: Run) -> None:
    """Queue a run from outside the leader: a manual trigger. It needs no lock and no fence."""
    async with database.transaction() as connection:
        row = run_row(run, Fence(name="", epoch=0), now=None)
        await connection.execute(insert(job_run), [{**row, "epoch": None}])
