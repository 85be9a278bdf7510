"""How a replica fetches runs that the leader offers: as many as it has free slots, each only once.

Replicas that fetch at the same time skip each other's rows. The next window of a chain waits for each round
trip, so one query returns everything that is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Update,
    bindparam,
    case,
    func,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import RunState
from piko.model.runs import Run
from piko.store.claims import is_to_do
from piko.store.engine import Database
from piko.store.keyed import bound_instant, execute_keyed
from piko.store.run_rows import UNREAD_RUN_COLUMNS, field_reader
from piko.store.schema.tables.replicas import leader_lease
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job


def offered_now() -> tuple[ColumnElement[bool], ...]:
    """The condition of runs that wait for a replica to fetch them."""
    return job_run.c.offered_at.is_not(None), job_run.c.state == RunState.QUEUED


def _waiting() -> Select[Any]:
    """What may be taken, each with the epoch of now and, where it has a window, its job's watermark."""
    # The epoch of now: what was begun under one that this instance has lost would be refused.
    epochs = select(leader_lease.c.epoch).where(leader_lease.c.name == bindparam("lease")).scalar_subquery()
    reached = select(scheduled_job.c.last_data_time).where(scheduled_job.c.job_id == job_run.c.job_id)
    watermark = case((job_run.c.window_start.is_not(None), reached.scalar_subquery()))
    return (
        select(*UNREAD_RUN_COLUMNS, epochs, watermark)
        .select_from(job_run)
        .where(*offered_now())
        .order_by(job_run.c.offered_at)
        .limit(bindparam("most", type_=Integer))
        .with_for_update(skip_locked=True)
    )


_WAITING = _waiting()
"""Made once: replicas ask ten times a second, and to make it takes longer than to read some runs."""


_COUNT = select(func.count()).select_from(job_run).where(job_run.c.offered_at.is_not(None))
"""Nothing but an index is read."""


async def count_offered(database: Database) -> int:
    """How many runs wait for a replica, see `RunStore.count_offered`."""
    async with database.statements() as connection:
        return int((await connection.execute(_COUNT)).scalar_one())


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
        waiting = _WAITING.where(job_run.c.job_id.not_in(sorted(leaving))) if leaving else _WAITING
        found = await connection.execute(waiting, {"lease": lease, "most": limit})
        fields = field_reader(connection.dialect)
        begun = {"state": RunState.RUNNING, "instance_id": instance_id, "offered_at": None}
        taken, left = [], []
        for *columns, epoch, watermark in found:
            values = fields(columns)
            if knows(values["job_id"]):
                under = max(epoch or 0, values["epoch"] or 0)
                taken.append((Run(**{**values, **begun, "epoch": under}), watermark))
            else:
                left.append(Run(**values))
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
