"""`announcement`: for what hooks have been called; and how the jobs concerned stand.

`webhook_announcement` is the same for the webhook: neither of the two waits for the other.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sqlalchemy import Row, Select, and_, delete, select

from piko.core.types import DataInterval, RunState
from piko.model.announcements import AnnouncedKind, Announcement, ConcernedJob, LastRun, Recipient
from piko.model.fences import Fence
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.reports.objectives import Objectives
from piko.store.schema.tables.announcements import announcement
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state
from piko.store.schema.tables.webhook_posts import webhook_announcement
from piko.store.upsert import write_rows

_CHUNK = 500
_row, _state, _run = scheduled_job.c, job_state.c, job_run.c
_TABLES = {Recipient.HOOKS: announcement, Recipient.WEBHOOK: webhook_announcement}


class AnnouncementStore:
    """Reads and writes what has been announced to `recipient`."""

    def __init__(self, *, database: Database, recipient: Recipient) -> None:
        self._database = database
        self._table = _TABLES[recipient]
        self._objectives = Objectives(database=database)

    async def read_all(self) -> list[Announcement]:
        """What has been announced and not ended: two rows at most for each job that fails or is late."""
        async with self._database.statements() as connection:
            said = self._table.c
            rows = await connection.execute(select(said.job_id, said.kind, said.since))
            return [
                Announcement(job_id=row.job_id, kind=AnnouncedKind(row.kind), since=row.since) for row in rows
            ]

    async def progress(self, job_ids: Collection[str]) -> dict[str, ConcernedJob]:
        """How far those of `job_ids` are that have a row."""
        found: dict[str, ConcernedJob] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                retried = set((await connection.execute(_retried(chunk))).scalars())
                for row in await connection.execute(_progress(chunk)):
                    found[row.job_id] = _of(row, is_retried=row.job_id in retried)
        objectives = await self._objectives.read(found)
        return {job_id: replace(job, objective=objectives.get(job_id)) for job_id, job in found.items()}

    async def write(self, row: Announcement, fence: Fence) -> None:
        """`row` has been announced. Raises `FencedError`."""
        values = {"job_id": row.job_id, "kind": row.kind.value, "since": row.since}
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await write_rows(connection, self._database, self._table, [values], update=("since",))

    async def remove(self, row: Announcement, fence: Fence) -> None:
        """The end of `row` has been announced. Raises `FencedError`."""
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            said = self._table.c
            over = delete(self._table).where(said.job_id == row.job_id, said.kind == row.kind.value)
            await connection.execute(over)


def _progress(job_ids: Collection[str]) -> Select[Any]:
    joined = scheduled_job.outerjoin(job_state, _state.job_id == _row.job_id).outerjoin(
        job_run, _run.run_id == _state.last_run_id
    )
    columns = (
        _row.job_id, _row.managed_by, _row.last_data_time,
        _state.consecutive_failures, _state.last_run_id, _state.last_state, _state.last_scheduled_time,
        _state.last_started_at, _state.last_error, _state.last_success_at,
        _run.attempt, _run.finished_at, _run.window_start, _run.window_end, _run.error_type,
    )  # fmt: skip
    return select(*columns).select_from(joined).where(_row.job_id.in_(job_ids))


def _retried(job_ids: Collection[str]) -> Select[tuple[str]]:
    is_open = _run.state.in_([RunState.QUEUED.value, RunState.RUNNING.value])
    return select(_run.job_id).where(and_(_run.job_id.in_(job_ids), is_open, _run.attempt > 1)).distinct()


def _of(row: Row[Any], *, is_retried: bool) -> ConcernedJob:
    last_run = None
    if row.last_run_id is not None and row.last_state is not None:
        has_window = row.window_start is not None and row.window_end is not None
        last_run = LastRun(
            run_id=row.last_run_id,
            state=row.last_state,
            scheduled_time=row.last_scheduled_time,
            started_at=row.last_started_at,
            finished_at=row.finished_at,
            attempt=row.attempt,
            window=DataInterval(row.window_start, row.window_end) if has_window else None,
            error_type=row.error_type,
            error=row.last_error,
        )
    return ConcernedJob(
        job_id=row.job_id,
        owner=row.managed_by,
        failures=row.consecutive_failures or 0,
        is_retried=is_retried,
        last_run=last_run,
        last_success_at=row.last_success_at,
        watermark=row.last_data_time,
    )
