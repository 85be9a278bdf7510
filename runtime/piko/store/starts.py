"""How queued runs begin: on the instance that the leader names, or on the replica that fetches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import RunState
from piko.model.fences import Fence
from piko.model.runs import Run
from piko.store.claims import is_to_do
from piko.store.engine import Database
from piko.store.fences import fenced
from piko.store.fetches import skip_overtaken
from piko.store.run_rows import lock_runs
from piko.store.schema.tables.runs import job_run
from piko.store.watermarks import lock_watermarks


async def start(database: Database, runs: Sequence[Run], fence: Fence, *, now: datetime) -> set[str]:
    """Move `runs` to RUNNING; the run ids that were still queued, see `RunStore.start`."""
    async with fenced(database, fence) as connection:
        following = [run for run in runs if run.follows_watermark]
        watermarks = await lock_watermarks(connection, [run.job_id for run in following])
        overtaken = {run.run_id for run in following if not is_to_do(run, watermarks)}
        ours: set[str] = set()
        for instance_id in sorted({run.instance_id or "" for run in runs}):
            of_it = [run for run in runs if (run.instance_id or "") == instance_id]
            ours |= await _begin(
                connection,
                {run.run_id: run.traceparent for run in of_it if run.run_id not in overtaken},
                instance_id,
                fence,
                now=now,
            )
        if overtaken:
            await skip_overtaken(connection, overtaken, now=now)
    return ours


async def offer(database: Database, runs: Sequence[Run], fence: Fence) -> set[str]:
    """Let any replica take `runs`; the run ids that were still there, see `RunStore.offer`."""
    async with fenced(database, fence) as connection:
        rows = await lock_runs(connection, [job_run.c.state], {run.run_id for run in runs})
        states = {row.run_id: row.state for row in rows}
        queued = [run for run in runs if states.get(run.run_id) == RunState.QUEUED]
        for run in queued:
            await connection.execute(
                update(job_run)
                .where(job_run.c.run_id == run.run_id)
                .values(
                    offered_at=run.offered_at,
                    config_revision=run.config_revision,
                    epoch=fence.epoch,
                    traceparent=run.traceparent,
                )
            )
    # What is not queued any more was offered by a first try whose COMMIT was cut off, and taken since.
    return set(states)


async def _begin(
    connection: AsyncConnection,
    traceparents: Mapping[str, str | None],
    instance_id: str,
    fence: Fence,
    *,
    now: datetime,
) -> set[str]:
    """Move the runs to RUNNING, each with its traceparent."""
    if not traceparents:
        return set()
    columns = job_run.c
    rows = await lock_runs(connection, [columns.state, columns.instance_id, columns.epoch], traceparents)
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
                **_of_traces({key: text for key, text in traceparents.items() if key in begun}),
            )
        )
    return begun


def _of_traces(traceparents: Mapping[str, str | None]) -> dict[str, Any]:
    """What is to be written of the traces of runs; nothing where none belongs to one."""
    known = {run_id: text for run_id, text in traceparents.items() if text is not None}
    if not known:
        return {}
    columns = job_run.c
    return {"traceparent": case(known, value=columns.run_id, else_=columns.traceparent)}
