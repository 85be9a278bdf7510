"""The watermarks of stateful jobs: up to where their data is done.

A watermark lives in `scheduled_job`, where people may set it too. The runtime moves it by compare-and-set
only: who set it meanwhile is obeyed. The functions here belong into a transaction that holds the fence, and
come first in it: every writer locks the rows of schedules before those of locks and runs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import case, literal, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.watermarks import WatermarkMove, Watermarks
from piko.store.held_rows import held_keys, lock_free, rows_locked
from piko.store.schema.column_types import INSTANT
from piko.store.schema.tables.schedules import scheduled_job


async def lock_watermarks(connection: AsyncConnection, job_ids: Iterable[str]) -> Watermarks:
    """The watermarks of `job_ids` as they stay until the transaction ends.

    Raises `RowsLockedError` where somebody else holds the row of one.
    """
    ids = set(job_ids)
    if not ids:
        return {}
    schedules = scheduled_job.c
    rows = await lock_free(
        connection, [schedules.job_id, schedules.last_data_time], schedules.job_id.in_(sorted(ids))
    )
    found: Watermarks = {row.job_id: row.last_data_time for row in rows}
    if held := await held_keys(connection, schedules.job_id, ids - found.keys()):
        raise rows_locked(held)
    return found


async def move_watermarks(
    connection: AsyncConnection, moves: Iterable[WatermarkMove], locked: Watermarks
) -> None:
    """Make those of `moves` whose `old` is what `locked` says, in `locked` too."""
    moved: dict[str, datetime] = {}
    for move in moves:
        if move.job_id in locked and locked[move.job_id] == move.old:
            locked[move.job_id] = moved[move.job_id] = move.new
    if moved:
        values = {job_id: literal(new, INSTANT) for job_id, new in moved.items()}
        await connection.execute(
            update(scheduled_job)
            .where(scheduled_job.c.job_id.in_(sorted(moved)))
            .values(last_data_time=case(values, value=scheduled_job.c.job_id))
        )
