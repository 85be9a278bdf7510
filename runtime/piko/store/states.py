"""`job_state`: the runtime's summary of each job, read by people, the operator and the next leader."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import FAILED_STATES, JobStatus, RunState
from piko.store.digests import read_pages
from piko.store.engine import Database
from piko.store.leases import Fence
from piko.store.run_rows import Outcome, OutcomeFence
from piko.store.tables import job_state
from piko.store.upsert import upsert


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """One row. `cursor_at`: instants up to here are dealt with, for the schedule of `schedule_hash`."""

    job_id: str
    status: str = JobStatus.SCHEDULED
    message: str | None = None
    schedule_hash: str | None = None
    observed_version: int | None = None
    cursor_at: datetime | None = None
    next_run_at: datetime | None = None
    last_run_id: str | None = None
    last_state: str | None = None
    last_scheduled_time: datetime | None = None
    last_started_at: datetime | None = None
    last_duration_s: float | None = None
    last_error: str | None = None
    last_success_at: datetime | None = None
    consecutive_failures: int = 0

    @property
    def succeeded_last(self) -> bool:
        return self.last_state == RunState.SUCCESS


FIELDS = tuple(JobState.__dataclass_fields__)
PLAN = ("status", "message", "schedule_hash", "observed_version", "cursor_at", "next_run_at", "epoch")
"""What claims write."""
LAST = (*(name for name in FIELDS if name.startswith("last_")), "consecutive_failures", "epoch")
"""What outcomes write. Claims and outcomes run side by side, so neither touches the other's columns."""
_COLUMNS = [job_state.c[name] for name in FIELDS]


def with_plan(state: JobState, planned: JobState) -> JobState:
    """`state` with what claims write taken from `planned`: the outcomes that came meanwhile stay."""
    return replace(state, **{name: getattr(planned, name) for name in PLAN if name in FIELDS})


def with_outcome(state: JobState, outcome: Outcome) -> JobState:
    """The job's summary once `outcome` is part of it."""
    succeeded = outcome.state is RunState.SUCCESS
    return replace(
        state,
        last_run_id=outcome.run.run_id,
        last_state=outcome.state.value,
        last_scheduled_time=outcome.run.scheduled_time,
        last_started_at=outcome.started_at,
        last_duration_s=outcome.duration_s,
        last_error=outcome.error,
        last_success_at=outcome.finished_at if succeeded else state.last_success_at,
        consecutive_failures=(
            0 if succeeded else state.consecutive_failures + (outcome.state in FAILED_STATES)
        ),
    )


class StateStore:
    """The leader's account of the jobs."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def read_all(self) -> dict[str, JobState]:
        async with self._database.statements() as connection:
            return {
                row.job_id: JobState(**row._mapping)
                async for page in read_pages(connection, _COLUMNS)
                for row in page
            }

    async def write(self, states: Sequence[JobState], fence: Fence) -> None:
        """Write `states`; raises `FencedError` where another replica leads."""
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            await write_states(connection, self._database, states, fence, update=PLAN)

    async def forget(self, job_ids: Collection[str], fence: Fence) -> None:
        """Drop the state of jobs whose row is gone; their runs stay as history."""
        async with self._database.transaction() as connection:
            await fence.hold(connection)
            await connection.execute(delete(job_state).where(job_state.c.job_id.in_(sorted(job_ids))))


async def summarise(
    connection: AsyncConnection, database: Database, outcomes: Iterable[Outcome], fence: OutcomeFence
) -> None:
    """Make `outcomes` part of their jobs' summaries.

    A backfill says nothing of how its job does now. A job that was deleted meanwhile does not come back.
    """
    live = [outcome for outcome in outcomes if outcome.run.backfill_id is None]
    if not live:
        return
    rows = await connection.execute(
        select(*_COLUMNS)
        .where(job_state.c.job_id.in_(sorted({outcome.run.job_id for outcome in live})))
        .order_by(job_state.c.job_id)
        .with_for_update()
    )
    states = {row.job_id: JobState(**row._mapping) for row in rows}
    for outcome in live:
        if (state := states.get(outcome.run.job_id)) is not None:
            states[outcome.run.job_id] = with_outcome(state, outcome)
    await write_states(connection, database, list(states.values()), fence, update=LAST)


async def write_states(
    connection: AsyncConnection,
    database: Database,
    states: Sequence[JobState],
    fence: OutcomeFence,
    *,
    update: Sequence[str],
) -> None:
    """Write the columns `update` of `states` within a transaction that holds `fence`."""
    if states:
        ordered = sorted(states, key=lambda state: state.job_id)  # one order everywhere, against deadlocks
        columns = sorted({"job_id", "status", *update} - {"epoch"})
        rows = [
            {**{name: getattr(state, name) for name in columns}, "epoch": fence.epoch} for state in ordered
        ]
        await connection.execute(upsert(database, job_state, update=update), rows)
