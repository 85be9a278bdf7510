"""Watermarks that people set, and their lines in `change_log`.

The watermark is the runtime's to move; `job_state.data_through` says where it stood. What a person sets it to
is found when the leader copies it. A line that is there already, of an act or of a new row that brought its
watermark, leaves a mark in `audited_row`, which that copy takes away.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import and_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.model.changes import Actor
from piko.store.changes import log_change
from piko.store.schema.tables.audited_rows import audited_row
from piko.store.schema.tables.schedules import scheduled_job
from piko.text import instant_text

_KEPT = audited_row.c
_NO_WATERMARK = "none"
NOBODY = "unknown"
"""Who wrote what SQL has written: the server keeps no name."""


async def log_watermark(
    connection: AsyncConnection, actor: Actor, job_id: str, *, before: datetime | None, after: datetime | None
) -> None:
    """Log that `actor` has set a watermark."""
    await log_change(
        connection,
        actor,
        "set_watermark",
        job_id=job_id,
        before={"last_data_time": before},
        after={"last_data_time": after},
    )


async def settle_watermark(
    connection: AsyncConnection, job_id: str, *, before: datetime | None, after: datetime | None
) -> None:
    """Log that SQL has set the watermark from `before` to `after`, unless there is a line about that."""
    of_it = and_(_KEPT.table_name == scheduled_job.name, _KEPT.job_id == job_id)
    statement = select(_KEPT.set_watermark, _KEPT.content).where(of_it).with_for_update()
    row = (await connection.execute(statement)).first()
    if row is None or row.content is None:
        return  # the line about the new row says it
    if row.set_watermark is not None:
        await connection.execute(update(audited_row).where(of_it).values(set_watermark=None))
    if row.set_watermark != watermark_text(after):
        await log_watermark(connection, Actor(who=NOBODY, via="sql"), job_id, before=before, after=after)


async def mark_watermark(connection: AsyncConnection, job_id: str, moment: datetime | None) -> None:
    """Note that there is a line about the watermark `moment`, which the leader has yet to copy."""
    await connection.execute(
        update(audited_row)
        .where(_KEPT.table_name == scheduled_job.name, _KEPT.job_id == job_id)
        .values(set_watermark=watermark_text(moment))
    )


def watermark_text(moment: datetime | None) -> str:
    """A watermark as `audited_row` holds it."""
    return _NO_WATERMARK if moment is None else instant_text(moment)
