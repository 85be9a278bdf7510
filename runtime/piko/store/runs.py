"""`job_run`: claims, starts, outcomes, and the queue of what waits.

Batches are the unit: one statement for many rows. A COMMIT that is cut off has an unknown outcome; every
write here can therefore be made again as it was, and finds what its first try wrote.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Select, and_, case, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, RunState
from piko.model.claims import ClaimBatch
from piko.model.fences import Fence, InstanceFence, OutcomeFence
from piko.model.runs import Outcome, Run, RunProgress
from piko.model.watermarks import Watermarks
from piko.store.backfills import count_ends, lock_backfills
from piko.store.claims import claim, is_to_do
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.held_rows import held_jobs, held_keys, lock_free, rows_locked, wait_for
from piko.store.locks import Handover, hand_over, lock_due_times
from piko.store.run_rows import OUTCOME_COLUMNS, RUN_COLUMNS, keep_known, outcome_row, run_of, run_row
from piko.store.schema.tables.replicas import runtime_instance
from piko.store.schema.tables.runs import job_run
from piko.store.states import lock_states, summarise, summarised
from piko.store.takes import offered_now, skip_overtaken, take
from piko.store.upsert import insert_once, write_rows
from piko.store.watermarks import lock_watermarks, move_watermarks

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

        A window that the watermark has left meanwhile is SKIPPED instead. Raises `FencedError`, and
        `RowsLockedError` where somebody holds rows of these runs or their jobs.
        """
        async with self._database.transaction() as connection:
            await hold(connection, fence)
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
                await skip_overtaken(connection, overtaken, now=now)
        return ours

    async def offer(self, runs: Sequence[Run], fence: Fence) -> set[str]:
        """Let any replica take queued runs, from `run.offered_at` on; the run ids that were still there.

        Raises `FencedError`, and `RowsLockedError` where somebody holds one.
        """
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            rows = await _lock_runs(connection, [job_run.c.state], {run.run_id for run in runs})
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
        return await take(
            self._database, instance_id, lease=lease, limit=limit, now=now, knows=knows, leaving=leaving
        )

    async def finish(self, outcomes: Sequence[Outcome], fence: OutcomeFence) -> set[str]:
        """Record outcomes with their watermarks, retries and summaries; the run ids that ended as told.

        A run that has ended in another way before keeps that end, and its outcome has no effect: it was given
        up, or cancelled by hand; so does one that is another instance's. Raises `FencedError`, and
        `RowsLockedError` where somebody holds rows of these runs or their jobs.
        """
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await lock_backfills(connection, outcomes)
            moves = [outcome.watermark for outcome in outcomes if outcome.watermark is not None]
            watermarks = await lock_watermarks(connection, [move.job_id for move in moves])
            states = await lock_states(connection, summarised(outcomes))
            await lock_due_times(connection, [item.run.due_time for item in outcomes if item.retry])
            if await self._all_open(connection, outcomes, fence):
                fresh, told = list(outcomes), {outcome.run.run_id for outcome in outcomes}
            else:
                fresh, told = _tell(outcomes, await _read_ends(connection, outcomes), fence)
            if fresh:
                await self._write_outcomes(connection, fresh, watermarks, fence)
                await summarise(
                    connection, self._database, fresh, fence, watermarks=watermarks, before=states
                )
                await count_ends(connection, fresh)
        return told

    async def held_jobs(self, job_ids: Collection[str], *, runs: Sequence[Run] = ()) -> set[str]:
        """Of `job_ids` those of which somebody holds a row now, of `runs` among others."""
        return await held_jobs(
            self._database,
            job_ids,
            run_ids=[run.run_id for run in runs],
            due_times=[run.due_time for run in runs],
        )

    async def wait_for(self, runs: Sequence[Run], *, also: Sequence[str] = ()) -> None:
        """Return when no transaction that writes `runs`, or the run ids of `also`, is under way.

        Raises `RowsLockedError` where one still is.
        """
        await wait_for(
            self._database,
            run_ids=[*(run.run_id for run in runs), *also],
            due_times=[run.due_time for run in runs],
        )

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

    async def running(self) -> list[Run]:
        """Every run that is recorded as in progress, on whatever instance."""
        return await self._runs(select(*RUN_COLUMNS).where(job_run.c.state == RunState.RUNNING))

    async def begun_by(self, instance_id: str) -> list[Run]:
        """Runs in progress on that instance whose ends it may record: they were not taken from it."""
        instance = runtime_instance.c
        statement = (
            select(*RUN_COLUMNS)
            .join(runtime_instance, instance.instance_id == job_run.c.instance_id)
            .where(
                job_run.c.state == RunState.RUNNING,
                job_run.c.instance_id == instance_id,
                or_(instance.fenced_epoch.is_(None), instance.fenced_epoch < job_run.c.epoch),
            )
        )
        return await self._runs(statement)

    async def offered(self) -> list[Run]:
        """Every run that waits for a replica to take it."""
        return await self._runs(select(*RUN_COLUMNS).where(*offered_now()))

    async def count_offered(self) -> int:
        """How many runs wait for a replica to take them."""
        async with self._database.statements() as connection:
            statement = select(func.count()).select_from(job_run).where(*offered_now())
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
        count = select(func.count(case((is_open, 1)))).where(job_run.c.run_id.in_(ids))
        found = (await connection.execute(count.with_for_update(skip_locked=True))).scalar_one()
        return bool(found == len(outcomes))

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


class _RecordedEnd(NamedTuple):
    """How a run has ended, or that it has not."""

    state: RunState
    started_at: datetime | None
    finished_at: datetime | None
    instance_id: str | None


async def _lock_runs(
    connection: AsyncConnection, columns: Sequence[Column[Any]], run_ids: Collection[str]
) -> list[Any]:
    """The rows of `run_ids` that there are. Raises `RowsLockedError` where somebody holds one."""
    ids = sorted(run_ids)
    rows = await lock_free(connection, [job_run.c.run_id, *columns], job_run.c.run_id.in_(ids))
    missing = set(ids) - {row.run_id for row in rows}
    if held := await held_keys(connection, job_run.c.run_id, missing):
        owners = await connection.execute(select(job_run.c.job_id).where(job_run.c.run_id.in_(sorted(held))))
        raise rows_locked(owners.scalars())
    return rows


async def _read_ends(connection: AsyncConnection, outcomes: Sequence[Outcome]) -> dict[str, _RecordedEnd]:
    columns = job_run.c
    rows = await _lock_runs(
        connection,
        [columns.state, columns.started_at, columns.finished_at, columns.instance_id],
        {outcome.run.run_id for outcome in outcomes},
    )
    return {
        row.run_id: _RecordedEnd(RunState(row.state), row.started_at, row.finished_at, row.instance_id)
        for row in rows
    }


def _tell(
    outcomes: Sequence[Outcome], ends: dict[str, _RecordedEnd], fence: OutcomeFence
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
            ends[run_id] = _RecordedEnd(
                outcome.state, started_at, outcome.finished_at, outcome.run.instance_id
            )
            told.add(run_id)
        elif (end.state, end.finished_at) == (outcome.state, outcome.finished_at):
            told.add(run_id)  # by our own first try, whose COMMIT was cut off
    return fresh, told


async def _begin(
    connection: AsyncConnection, run_ids: Sequence[str], instance_id: str, fence: Fence, *, now: datetime
) -> set[str]:
    if not run_ids:
        return set()
    columns = job_run.c
    rows = await _lock_runs(connection, [columns.state, columns.instance_id, columns.epoch], run_ids)
    # Ours already: by a first try whose COMMIT was cut off.
    ours = (RunState.RUNNING, instance_id, fence.epoch)
    begun = {
        row.run_id
        for row in rows
        if row.state == RunState.QUEUED or (row.state, row.instance_id, row.epoch) == ours
    }
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


async def insert_queued(database: Database, run: Run) -> None:
    """Queue a run from outside the leader: a manual trigger. It needs no lock and no fence."""
    row = run_row(run, Fence(name="", epoch=0), now=None)
    await insert_once(database, job_run, {**row, "epoch": None})
