"""`job_run`: claims, starts, outcomes, and the queue of what waits.

Batches are the unit: one statement for many rows. A COMMIT that is cut off has an unknown outcome; every
write here can therefore be made again as it was, and finds what its first try wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, case, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, RunState
from piko.store.backfills import count_ends, lock_backfills
from piko.store.claims import ClaimBatch, claim, is_to_do
from piko.store.engine import Database
from piko.store.instances import InstanceFence
from piko.store.leases import Fence
from piko.store.locks import Handover, hand_over
from piko.store.run_rows import (
    OUTCOME_COLUMNS,
    RUN_COLUMNS,
    Outcome,
    OutcomeFence,
    Run,
    RunProgress,
    keep_known,
    outcome_row,
    run_of,
    run_row,
)
from piko.store.states import summarise
from piko.store.tables import job_run, leader_lease
from piko.store.upsert import write_rows
from piko.store.watermarks import (
    Watermarks,
    lock_watermarks,
    move_watermarks,
    read_watermarks,
)

_CHUNK = 500

_PROGRESS = [job_run.c[name] for name in RunProgress.__dataclass_fields__]


class RunStore:
    """Claims and outcomes, each conditional on its fence.

    Every transaction here locks rows in one order, against deadlocks: the lease, instances, backfills,
    schedules, locks, runs, states; and within a table by key.
    """

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def claim(self, batch: ClaimBatch, fence: Fence, *, now: datetime) -> dict[str, Run]:
        """Claim the batch, see `claim`; the runs that are ours, by id. Raises `FencedError`."""
        return await claim(self._database, batch, fence, now=now)

    async def start(self, runs: Sequence[Run], fence: Fence, *, now: datetime) -> set[str]:
        """Move queued runs to RUNNING for `run.instance_id`; the run ids that were still queued.

        A window that the watermark has left meanwhile is SKIPPED instead. Raises `FencedError`.
        """
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            following = [run for run in runs if run.follows_watermark]
            watermarks = await lock_watermarks(connection, [run.job_id for run in following])
            overtaken = {run.run_id for run in following if not is_to_do(run, watermarks)}
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
            overtaken = [run.run_id for run in offered if not is_to_do(run, watermarks)]
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

    async def progress(self, run_ids: Collection[str]) -> dict[str, RunProgress]:
        """How far each of `run_ids` is that has a row."""
        found: dict[str, RunProgress] = {}
        ids = sorted(run_ids)
        async with self._database.statements() as connection:
            for start in range(0, len(ids), _CHUNK):
                chunk = ids[start : start + _CHUNK]
                for row in await connection.execute(select(*_PROGRESS).where(job_run.c.run_id.in_(chunk))):
                    known = {**row._mapping, "state": RunState(row.state)}
                    found[row.run_id] = RunProgress(**known)
        return found

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
        await summarise(connection, self._database, outcomes, fence, watermarks=watermarks)


def _offered() -> tuple[ColumnElement[bool], ...]:
    return job_run.c.offered_at.is_not(None), job_run.c.state == RunState.QUEUED


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


async def insert_queued(database: Database, run: Run) -> None:
    """Queue a run from outside the leader: a manual trigger. It needs no lock and no fence."""
    async with database.transaction() as connection:
        row = run_row(run, Fence(name="", epoch=0), now=None)
        await connection.execute(insert(job_run), [{**row, "epoch": None}])
