"""How a replica fetches runs that the leader offers: as many as it has free slots, each only once.

Replicas that fetch at the same time skip each other's rows. The next window of a chain waits for each round
trip, so one query returns everything that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, Update, bindparam, literal_column, null, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import RunState
from piko.model.runs import Run
from piko.store.claims import is_to_do
from piko.store.engine import Database
from piko.store.keyed import bound_instant, execute_keyed
from piko.store.run_rows import RUN_COLUMNS, run_of
from piko.store.schema.tables.replicas import leader_lease
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job


def offered_now() -> tuple[ColumnElement[bool], ...]:
    """The condition of runs that wait for a replica to fetch them."""
    return job_run.c.offered_at.is_not(None), job_run.c.state == RunState.QUEUED


async def fetch(
    database: Database,
    instance_id: str,
    *,
    lease: str,
    limit: int,
    now: datetime,
    knows: Callable[[str], bool],
    leaving: Collection[str],
) -> tuple[list[Run], list[Run]]:
    """The fetched runs, and those found and left; see `RunStore.fetch`."""
    async with database.transaction() as connection:
        # The epoch of now: what was begun under one that this instance has lost would be refused.
        epochs = select(leader_lease.c.epoch).where(leader_lease.c.name == lease).scalar_subquery()
        reached = select(scheduled_job.c.last_data_time).where(scheduled_job.c.job_id == job_run.c.job_id)
        found = await connection.execute(
            select(*RUN_COLUMNS, epochs.label("lease_epoch"), reached.scalar_subquery().label("reached"))
            .where(*offered_now(), job_run.c.job_id.not_in(sorted(leaving)))
            .order_by(job_run.c.offered_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        taken, left = [], []
        for row in found:
            values = dict(row._mapping)
            epoch, watermark = values.pop("lease_epoch") or 0, values.pop("reached")
            if not knows(row.job_id):
                left.append(run_of(values))
                continue
            values |= {
                "state": RunState.RUNNING,
                "instance_id": instance_id,
                "epoch": max(epoch, row.epoch or 0),
                "offered_at": None,
            }
            taken.append((run_of(values), watermark))
        fetched = [run for run, watermark in taken if is_to_do(run, {run.job_id: watermark})]
        if len(fetched) < len(taken):
            going = {run.run_id for run in fetched}
            overtaken = [run.run_id for run, _ in taken if run.run_id not in going]
            await skip_overtaken(connection, overtaken, now=now)
        for number in {run.epoch for run in fetched}:
            ids = sorted(run.run_id for run in fetched if run.epoch == number)
            begins = bound_instant(connection.dialect, now)
            await execute_keyed(connection, _begun, ids, before=[instance_id, number, begins])
    return fetched, left


def _begun(run_ids: Sequence[str]) -> Update:
    columns = job_run.c
    return (
        update(job_run)
        .where(columns.run_id.in_(run_ids))
        .ordered_values(
            (columns.state, literal_column(f"'{RunState.RUNNING.value}'")),
            (columns.offered_at, null()),
            (columns.instance_id, bindparam("instance", "")),
            (columns.epoch, bindparam("under", 0)),
            (columns.started_at, bindparam("begins", None)),
        )
    )


async def skip_overtaken(connection: AsyncConnection, run_ids: Collection[str], *, now: datetime) -> None:
    """End queued windows that their watermarks have left."""
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
