"""`job_run` and `job_lock`: claims, outcomes, and the queue of what waits.

A due window belongs to whoever inserts its `job_lock` row; the insert, the `job_run` row and the cursor are
one transaction under the fence. Batches are the unit: one statement for many rows, with placeholders only,
so that the driver's multi-row insert applies.

A COMMIT that is cut off has an unknown outcome. Every write here can therefore be made again as it was:
a claim keeps its token and run ids, so that the second try finds what the first one wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import insert, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FINAL_STATES, DataInterval, RunState, TriggerType
from piko.store.engine import Database
from piko.store.leases import Fence
from piko.store.states import LAST, PLAN, JobState, write_states
from piko.store.tables import job_lock, job_run, scheduled_job
from piko.store.upsert import upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One attempt at one due time."""

    run_id: str
    job_id: str
    scheduled_time: datetime
    state: RunState
    attempt: int = 1
    trigger_type: TriggerType = TriggerType.SCHEDULE
    priority: int = 0
    not_before: datetime | None = None
    window: DataInterval | None = None
    instance_id: str | None = None
    epoch: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """Consecutive instants of a job that do not run: one row with the first, the last and their number."""

    run_id: str
    job_id: str
    state: RunState
    first: datetime
    through: datetime
    count: int
    reason: str
    trigger_type: TriggerType = TriggerType.SCHEDULE


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


@dataclass(frozen=True, slots=True, kw_only=True)
class WatermarkMove:
    """A compare-and-set of a job's watermark."""

    job_id: str
    old: datetime | None
    new: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. A `retry` is the queued next attempt."""

    run: Run
    state: RunState
    started_at: datetime | None
    finished_at: datetime
    duration_s: float | None
    config_revision: int | None = None
    error_type: str | None = None
    error: str | None = None
    watermark: WatermarkMove | None = None
    retry: Run | None = None
    job_state: JobState | None = None


class RunStore:
    """Claims and outcomes, each conditional on the fence."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def claim(self, batch: ClaimBatch, fence: Fence, *, now: datetime) -> set[str]:
        """Claim the batch; the run ids that are ours. Raises `FencedError`.

        A due time that another has claimed is left out. A window of a stateful job is claimed anew where its
        watermark says that it is still to be done and its earlier run has ended.
        """
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            plain = [run for run in batch.runs if run.window is None]
            won = await self._take_locks(connection, plain, batch.token, fence)
            claimed = [run for run in plain if run.run_id in won]
            for run in batch.runs:
                if run.window is not None:
                    again = await self._take_window(connection, run, batch.token, fence)
                    if again is not None:
                        claimed.append(again)
            rows = [_run_row(run, fence, now=now) for run in claimed]
            if rows:
                await connection.execute(upsert(self._database, job_run, update=()), rows)
            passed = [_passed_row(item, fence, now=now) for item in batch.passed_over]
            if passed:
                await connection.execute(upsert(self._database, job_run, update=()), passed)
            await write_states(connection, self._database, batch.states, fence, update=PLAN)
            for move in batch.watermarks:
                await _move_watermark(connection, move)
            if batch.completed:
                await connection.execute(
                    update(scheduled_job)
                    .where(scheduled_job.c.job_id.in_(sorted(batch.completed)))
                    .values(completed_at=now)
                )
        return {run.run_id for run in claimed}

    async def start(self, runs: Sequence[Run], fence: Fence, *, now: datetime) -> set[str]:
        """Move queued runs to RUNNING for `run.instance_id`; the run ids that were still queued."""
        ids = [run.run_id for run in runs]
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            mine = (job_run.c.state == RunState.RUNNING) & (job_run.c.instance_id == runs[0].instance_id)
            found = await connection.execute(
                select(job_run.c.run_id)
                .where(job_run.c.run_id.in_(ids), or_(job_run.c.state == RunState.QUEUED, mine))
                .with_for_update()
            )
            ours = set(found.scalars())
            if ours:
                await connection.execute(
                    update(job_run)
                    .where(job_run.c.run_id.in_(sorted(ours)))
                    .values(
                        state=RunState.RUNNING,
                        instance_id=runs[0].instance_id,
                        epoch=fence.epoch,
                        claimed_at=now,
                        started_at=now,
                    )
                )
        return ours

    async def finish(self, outcomes: Sequence[Outcome], fence: Fence) -> None:
        """Record outcomes, watermarks and retries in one transaction. Raises `FencedError`."""
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            rows = [_outcome_row(outcome, fence) for outcome in outcomes]
            await connection.execute(upsert(self._database, job_run, update=_OUTCOME_UPDATE), rows)
            retries = [outcome for outcome in outcomes if outcome.retry is not None]
            if retries:
                queued = [_run_row(item.retry, fence, now=None) for item in retries if item.retry is not None]
                await connection.execute(upsert(self._database, job_run, update=()), queued)
            for outcome in retries:
                assert outcome.retry is not None
                await connection.execute(
                    update(job_lock)
                    .where(job_lock.c.job_id == outcome.run.job_id)
                    .where(job_lock.c.scheduled_time == outcome.run.scheduled_time)
                    .where(job_lock.c.run_id == outcome.run.run_id)
                    .values(run_id=outcome.retry.run_id, epoch=fence.epoch)
                )
            for outcome in outcomes:
                if outcome.watermark is not None:
                    await _move_watermark(connection, outcome.watermark)
            states = {
                item.job_state.job_id: item.job_state for item in outcomes if item.job_state is not None
            }
            await write_states(connection, self._database, list(states.values()), fence, update=LAST)

    async def queued(self, *, limit: int = 1000) -> list[Run]:
        """What waits: the highest priority first, then the oldest."""
        statement = (
            select(*_RUN_COLUMNS)
            .where(job_run.c.state == RunState.QUEUED)
            .order_by(job_run.c.priority.desc(), job_run.c.scheduled_time)
            .limit(limit)
        )
        return await self._runs(statement)

    async def running(self) -> list[Run]:
        """Every run that is recorded as in progress, on whatever instance."""
        return await self._runs(select(*_RUN_COLUMNS).where(job_run.c.state == RunState.RUNNING))

    async def _runs(self, statement: object) -> list[Run]:
        async with self._database.statements() as connection:
            rows = await connection.execute(statement)  # type: ignore[call-overload]
            return [_run(row._mapping) for row in rows]

    async def _take_locks(
        self, connection: AsyncConnection, runs: Sequence[Run], token: str, fence: Fence
    ) -> set[str]:
        if not runs:
            return set()
        rows = [_lock_row(run, token, fence) for run in runs]
        await connection.execute(upsert(self._database, job_lock, update=()), rows)
        # The affected-row count does not tell: the driver asks for found rows, not for changed ones.
        keys = [(run.job_id, run.scheduled_time) for run in runs]
        found = await connection.execute(
            select(job_lock.c.run_id).where(
                job_lock.c.claim_token == token,
                tuple_(job_lock.c.job_id, job_lock.c.scheduled_time).in_(keys),
            )
        )
        return set(found.scalars())

    async def _take_window(
        self, connection: AsyncConnection, run: Run, token: str, fence: Fence
    ) -> Run | None:
        if run.run_id in await self._take_locks(connection, [run], token, fence):
            return run
        holder = (
            await connection.execute(
                select(job_run.c.run_id, job_run.c.state, job_run.c.attempt)
                .join(job_lock, job_lock.c.run_id == job_run.c.run_id)
                .where(job_lock.c.job_id == run.job_id, job_lock.c.scheduled_time == run.scheduled_time)
                .with_for_update()
            )
        ).first()
        watermark = (
            await connection.execute(
                select(scheduled_job.c.last_data_time).where(scheduled_job.c.job_id == run.job_id)
            )
        ).scalar_one_or_none()
        assert run.window is not None
        still_to_do = watermark is None or watermark == run.window.start
        if holder is None or holder.state not in FINAL_STATES or not still_to_do:
            return None
        await connection.execute(
            update(job_lock)
            .where(job_lock.c.job_id == run.job_id)
            .where(job_lock.c.scheduled_time == run.scheduled_time)
            .where(job_lock.c.run_id == holder.run_id)
            .values(run_id=run.run_id, claim_token=token, epoch=fence.epoch)
        )
        # After a success the watermark was set back: a new beginning. After a failure: one more attempt.
        attempt = 1 if holder.state == RunState.SUCCESS else holder.attempt + 1
        return Run(**{**{name: getattr(run, name) for name in Run.__dataclass_fields__}, "attempt": attempt})


# ---- rows -----------------------------------------------------------------------------------------

_RUN_COLUMNS = [
    job_run.c[name]
    for name in (
        "run_id", "job_id", "scheduled_time", "state", "attempt", "trigger_type", "priority", "not_before",
        "window_start", "window_end", "instance_id", "epoch",
    )
]  # fmt: skip

_OUTCOME_UPDATE = (
    "state",
    "started_at",
    "finished_at",
    "duration_s",
    "config_revision",
    "error_type",
    "error",
)


def _run(row: object) -> Run:
    values = dict(row)  # type: ignore[call-overload]
    start, end = values.pop("window_start"), values.pop("window_end")
    window = None if start is None or end is None else DataInterval(start, end)
    values["state"] = RunState(values["state"])
    values["trigger_type"] = TriggerType(values["trigger_type"])
    return Run(**values, window=window)


def _run_row(run: Run, fence: Fence, *, now: datetime | None) -> dict[str, object]:
    running = run.state == RunState.RUNNING
    return {
        "run_id": run.run_id,
        "job_id": run.job_id,
        "scheduled_time": run.scheduled_time,
        "attempt": run.attempt,
        "state": run.state.value,
        "trigger_type": run.trigger_type.value,
        "priority": run.priority,
        "not_before": run.not_before,
        "window_start": None if run.window is None else run.window.start,
        "window_end": None if run.window is None else run.window.end,
        "epoch": fence.epoch,
        "instance_id": run.instance_id if running else None,
        "claimed_at": now,
        "started_at": now if running else None,
    }


def _passed_row(item: PassedOver, fence: Fence, *, now: datetime) -> dict[str, object]:
    return {
        "run_id": item.run_id,
        "job_id": item.job_id,
        "scheduled_time": item.first,
        "state": item.state.value,
        "trigger_type": item.trigger_type.value,
        "missed_through": item.through,
        "missed_count": item.count,
        "epoch": fence.epoch,
        "finished_at": now,
        "error": item.reason,
    }


def _outcome_row(outcome: Outcome, fence: Fence) -> dict[str, object]:
    return {
        **_run_row(outcome.run, fence, now=None),
        "state": outcome.state.value,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "duration_s": outcome.duration_s,
        "config_revision": outcome.config_revision,
        "error_type": outcome.error_type,
        "error": outcome.error,
    }


def _lock_row(run: Run, token: str, fence: Fence) -> dict[str, object]:
    return {
        "job_id": run.job_id,
        "scheduled_time": run.scheduled_time,
        "run_id": run.run_id,
        "claim_token": token,
        "epoch": fence.epoch,
    }


async def _move_watermark(connection: AsyncConnection, move: WatermarkMove) -> bool:
    moved = await connection.execute(
        update(scheduled_job)
        .where(scheduled_job.c.job_id == move.job_id)
        .where(scheduled_job.c.last_data_time.is_not_distinct_from(move.old))
        .values(last_data_time=move.new)
    )
    return moved.rowcount == 1


async def insert_queued(database: Database, run: Run) -> None:
    """Queue a run from outside the leader: a manual trigger. It needs no lock and no fence."""
    async with database.transaction() as connection:
        row = _run_row(run, Fence(name="", epoch=0), now=None)
        await connection.execute(insert(job_run), [{**row, "epoch": None}])
