"""How far runs are that others run: read by what has changed, not one by one.

A leader looks for their ends several times a second. Of thousands that are offered or in progress, only some
have moved since. Which have not, two indexes say without a look at a row; only the others are read.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import RunState
from piko.model.runs import RunProgress
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.keyed import execute_keyed, instant_reader
from piko.store.schema.tables.runs import job_run

FEW = 64
"""So many are read at once: to find out which of them have moved would take as long."""
_OFFERED = select(job_run.c.run_id).where(job_run.c.offered_at.is_not(None))
_OLDEST = (
    select(job_run.c.offered_at)
    .where(job_run.c.offered_at.is_not(None))
    .order_by(job_run.c.offered_at)
    .limit(1)
)
_RUNNING = select(job_run.c.run_id).where(job_run.c.state == RunState.RUNNING.value)


async def progress(
    database: Database, run_ids: Collection[str], *, begun: Collection[str], waiting: bool = True
) -> dict[str, RunProgress | None]:
    """How far those of `run_ids` are that may have moved: None where the row was deleted.

    - `begun`: those that are known to have begun.
    - `waiting`: whether any of them may be offered still.

    What is left out waits still, or has begun and not ended.
    """
    async with database.statements() as connection:
        moved = set(run_ids)
        if len(moved) > FEW:
            # In the order of a run: what begins in between is not taken for one that has ended.
            if waiting:
                moved.difference_update((await connection.execute(_OFFERED)).scalars())
            running = set((await connection.execute(_RUNNING)).scalars())
            moved.difference_update(running.intersection(begun))
        found: dict[str, RunProgress | None] = dict.fromkeys(moved)
        for chunk in chunks(moved):
            found.update(await _read(connection, chunk))
    return found


async def oldest_offer(database: Database) -> datetime | None:
    """Since when the run is offered that waits for a replica the longest; None: none waits."""
    async with database.statements() as connection:
        oldest: datetime | None = (await connection.execute(_OLDEST)).scalar()
    return oldest


async def _read(connection: AsyncConnection, run_ids: Sequence[str]) -> dict[str, RunProgress]:
    instant = instant_reader(connection.dialect)
    found = {}
    for row in await execute_keyed(connection, _of_ids, run_ids):
        found[row.run_id] = RunProgress(
            run_id=row.run_id,
            job_id=row.job_id,
            state=RunState(row.state),
            started_at=instant(row.started_at),
            finished_at=instant(row.finished_at),
        )
    return found


def _of_ids(run_ids: Sequence[str]) -> Select[Any]:
    columns = job_run.c
    named = select(columns.run_id, columns.job_id, columns.state, columns.started_at, columns.finished_at)
    return named.where(columns.run_id.in_(run_ids))
