"""What a job has done outlives its row.

A cursor and a watermark say up to where a job has dealt with its instants and its data. A row of
`scheduled_job` may go in many ways that are no word about them: a DELETE and an INSERT where an UPDATE was
meant, a file that an editor emptied, a resource that moved to another namespace. So `job_state` keeps both,
and the next row of that job id goes on from there.

- `data_through` is a copy of the watermark, made in the transaction that moves it. What a person writes into
  the row is copied by the leader when it sees it.
- `row_created_at` names the row that a state speaks of. One that was made at another time is another row,
  however soon it took the place of the one before, and whether or not anybody was looking.
- A new row without a watermark gets the kept one; one that brings its own keeps that. NULL that somebody
  writes into a row that was there is no new row: it is obeyed.

What is kept goes `history_max_age_s` after the row was found deleted, or when somebody says so: by
`piko forget`, or by `deletionPolicy: Forget`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime

from sqlalchemy import case, delete, exists, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import JobStatus
from piko.model.changes import Actor
from piko.model.fences import Fence
from piko.model.progress import JobProgress
from piko.model.runs import Outcome
from piko.model.watermarks import WatermarkMove, Watermarks
from piko.store.audited_watermarks import settle_watermark
from piko.store.changes import log_change
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.schema.column_types import INSTANT
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state
from piko.store.watermarks import move_watermarks

ROW_DELETED = (
    "its row in scheduled_job was deleted; its progress is kept for the next row of the job "
    "(`piko forget JOB` drops it)"
)


_COLUMNS = [job_state.c[name] for name in JobProgress.__dataclass_fields__]
_HAS_ROW = exists().where(scheduled_job.c.job_id == job_state.c.job_id)


class ProgressStore:
    """Reads, gives back and drops what is kept."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def without_row(self, job_ids: Collection[str] | None = None) -> dict[str, JobProgress]:
        """What is kept of those of `job_ids` that have no row now; of all such jobs if None."""
        statement = select(*_COLUMNS).where(~_HAS_ROW).order_by(job_state.c.job_id)
        if job_ids is not None:
            statement = statement.where(job_state.c.job_id.in_(sorted(job_ids)))
        async with self._database.statements() as connection:
            return {row.job_id: JobProgress(**row._mapping) for row in await connection.execute(statement)}

    async def forget(self, job_id: str, *, actor: Actor) -> bool:
        """Drop what is kept of a job that has no row; whether there was something. Its runs stay."""
        kept = select(job_state.c.data_through, job_state.c.cursor_at).where(job_state.c.job_id == job_id)
        async with self._database.transaction() as connection:
            before = (await connection.execute(kept.with_for_update())).first()
            if before is None or not await drop(connection, job_id):
                return False
            await log_change(
                connection, actor, "forget", job_id=job_id, before=dict(before._mapping), after=None
            )
            return True

    # ---- what the leader does ----------------------------------------------------------------------

    async def restore(self, moves: Sequence[WatermarkMove], fence: Fence) -> Watermarks:
        """Give rows without a watermark the one that was kept; what each row holds now.

        A value that somebody wrote meanwhile stays. A row that was deleted, or that another transaction
        holds, is left as it is and is not in the answer. Raises `FencedError`.
        """
        statement = (
            select(scheduled_job.c.job_id, scheduled_job.c.last_data_time)
            .where(scheduled_job.c.job_id.in_(sorted(move.job_id for move in moves)))
            .order_by(scheduled_job.c.job_id)
            .with_for_update(skip_locked=True)
        )
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            held: Watermarks = {job_id: value for job_id, value in await connection.execute(statement)}  # noqa: C416
            await move_watermarks(connection, moves, held)
        return held

    async def copy(self, job_ids: Collection[str], fence: Fence) -> None:
        """Copy the watermarks of `job_ids` that others wrote, and see that each has its line in `change_log`.

        Raises `FencedError`.
        """
        watermark, kept = scheduled_job.c.last_data_time, job_state.c.data_through
        statement = (
            select(job_state.c.job_id, watermark, kept)
            .join(scheduled_job, scheduled_job.c.job_id == job_state.c.job_id)
            .where(job_state.c.job_id.in_(sorted(job_ids)), watermark.is_distinct_from(kept))
            .order_by(job_state.c.job_id)
        )
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            for job_id, new, old in (await connection.execute(statement)).all():
                # An outcome may have moved both since they were read: then its word is the later one.
                copied = await connection.execute(
                    update(job_state)
                    .where(job_state.c.job_id == job_id, kept.is_not_distinct_from(literal(old, INSTANT)))
                    .values(data_through=new)
                )
                if copied.rowcount:
                    await settle_watermark(connection, job_id, before=old, after=new)

    async def mark_deleted(self, job_ids: Collection[str], fence: Fence, *, now: datetime) -> None:
        """Keep the states of jobs whose rows were deleted for the next ones. Raises `FencedError`."""
        columns = job_state.c
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await connection.execute(
                update(job_state)
                .where(columns.job_id.in_(sorted(job_ids)), columns.row_gone_at.is_(None))
                .values(
                    row_gone_at=now,
                    row_created_at=None,
                    next_run_at=None,
                    status=JobStatus.DISABLED.value,
                    message=ROW_DELETED,
                )
            )

    async def prune(self, before: datetime, fence: Fence, *, limit: int) -> int:
        """Drop what is kept of rows that went before `before`; how many. Raises `FencedError`."""
        old = (
            select(job_state.c.job_id)
            .where(job_state.c.row_gone_at < before, ~_HAS_ROW)
            .order_by(job_state.c.job_id)
            .limit(limit)
        )
        async with self._database.statements() as connection:
            job_ids = (await connection.execute(old)).scalars().all()
        if not job_ids:
            return 0
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            dropped = await connection.execute(
                delete(job_state).where(job_state.c.job_id.in_(job_ids), job_state.c.row_gone_at < before)
            )
            return dropped.rowcount


async def drop(connection: AsyncConnection, job_id: str) -> int:
    """Drop what is kept of a job that has no row."""
    return (
        await connection.execute(delete(job_state).where(job_state.c.job_id == job_id, ~_HAS_ROW))
    ).rowcount


async def keep(connection: AsyncConnection, moves: Iterable[WatermarkMove], watermarks: Watermarks) -> None:
    """Copy those of `moves` that were made: `watermarks` says where the rows stand after them."""
    made = {move.job_id: move.new for move in moves if watermarks.get(move.job_id) == move.new}
    if made:
        values = {job_id: literal(new, INSTANT) for job_id, new in made.items()}
        await connection.execute(
            update(job_state)
            .where(job_state.c.job_id.in_(sorted(made)))
            .values(data_through=case(values, value=job_state.c.job_id))
        )


def watermarks_to_keep(
    outcomes: Iterable[Outcome], watermarks: Watermarks, before: Watermarks
) -> Mapping[str, datetime]:
    """The copies to make after `outcomes`; `watermarks` are those of the rows, `before` what is kept.

    Data that was done while its job had no row is done as well.
    """
    through: dict[str, datetime] = {}
    for move in (outcome.watermark for outcome in outcomes):
        if move is None:
            continue
        of_row = watermarks.get(move.job_id)
        if of_row is not None:
            through[move.job_id] = of_row
        elif through.get(move.job_id, before.get(move.job_id)) == move.old:
            through[move.job_id] = move.new
    return through
