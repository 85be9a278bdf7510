"""`data_deadline`: from when on the data of each job is late, found ahead.

Who needs a person is asked often, and of ten thousand jobs the data of few is late. From when on it is,
follows from the schedule and from how far the job has come, which no statement can compute. So the leader
writes it down. But for an edit, what it wrote is never too late an instant, since progress moves the instant
on: so a run writes nothing here, and who reads looks at the rows of those whose instant has passed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Select, delete, func, or_, select, union_all

from piko.model.fences import Fence
from piko.model.objectives import JobObjective
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.fences import hold
from piko.store.reports.objectives import OBJECTIVE_COLUMNS
from piko.store.schema.tables.data_deadlines import data_deadline
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state
from piko.store.upsert import write_rows

_CHUNK = 500
_ROW, _WRITTEN = scheduled_job.c, data_deadline.c
_JOINED = (
    scheduled_job.outerjoin(job_state, job_state.c.job_id == _ROW.job_id)
    .outerjoin(job_definition, job_definition.c.job_id == _ROW.job_id)
    .outerjoin(data_deadline, _WRITTEN.job_id == _ROW.job_id)
)

DeadlineKey = tuple[datetime, str]
"""Where a job stands in the order of deadlines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobData:
    """What the rows of a job say of its data; and the deadline that is `written`, None: none is."""

    job: JobObjective
    written: datetime | None


class DataDeadlineStore:
    """Reads and writes deadlines of data."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def by(self, instant: datetime, *, after: DeadlineKey | None, limit: int) -> list[DeadlineKey]:
        """Those that have passed by `instant`, in their order: at most `limit` that come after that place."""
        statement = select(_WRITTEN.late_at, _WRITTEN.job_id).where(_WRITTEN.late_at <= instant)
        if after is not None:
            late_at, job_id = after
            beyond = or_(_WRITTEN.late_at > late_at, _WRITTEN.job_id > job_id)
            statement = statement.where(_WRITTEN.late_at >= late_at, beyond)
        ordered = statement.order_by(_WRITTEN.late_at, _WRITTEN.job_id).limit(limit)
        async with self._database.statements() as connection:
            return [(row.late_at, row.job_id) for row in await connection.execute(ordered)]

    async def following(self, job_id: str, *, limit: int) -> list[str]:
        """At most `limit` jobs with a row, after that id."""
        statement = select(_ROW.job_id).where(_ROW.job_id > job_id).order_by(_ROW.job_id).limit(limit)
        async with self._database.statements() as connection:
            return list((await connection.execute(statement)).scalars())

    async def astray(self, *, limit: int) -> list[str]:
        """Jobs with a row and without a deadline, and the reverse: at most `limit` of either.

        They are looked for if there are more of one than of the other.
        """
        jobs = select(func.count()).select_from(scheduled_job).scalar_subquery()
        written = select(func.count()).select_from(data_deadline).scalar_subquery()
        async with self._database.statements() as connection:
            numbers = (await connection.execute(select(jobs, written))).one()
            if numbers[0] == numbers[1]:
                return []
            return [row.job_id for row in await connection.execute(_without_the_other(limit))]

    async def read(self, job_ids: Collection[str]) -> dict[str, JobData]:
        """What there is of `job_ids`; a job without a row is left out."""
        columns = [*OBJECTIVE_COLUMNS, _WRITTEN.late_at]
        found: dict[str, JobData] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                statement = select(*columns).select_from(_JOINED).where(_ROW.job_id.in_(chunk))
                for row in await connection.execute(statement):
                    values = dict(row._mapping)
                    written = values.pop(_WRITTEN.late_at.name)
                    found[row.job_id] = JobData(job=JobObjective(**values), written=written)
        return found

    async def write(
        self, deadlines: Mapping[str, datetime], fence: Fence, *, deleted: Collection[str] = ()
    ) -> None:
        """Write `deadlines`, and drop those of `deleted` jobs. Raises `FencedError`."""
        rows = [{"job_id": job_id, "late_at": deadlines[job_id]} for job_id in sorted(deadlines)]
        async with self._database.transaction() as connection:
            await hold(connection, fence)
            await write_rows(connection, self._database, data_deadline, rows, update=("late_at",))
            for chunk in chunks(deleted, size=_CHUNK):
                await connection.execute(delete(data_deadline).where(_WRITTEN.job_id.in_(chunk)))


def _without_the_other(limit: int) -> Select[tuple[str]]:
    of_both: ColumnElement[bool] = _WRITTEN.job_id == _ROW.job_id
    new = (
        select(_ROW.job_id)
        .select_from(scheduled_job.outerjoin(data_deadline, of_both))
        .where(_WRITTEN.job_id.is_(None))
        .limit(limit)
    )
    deleted = (
        select(_WRITTEN.job_id)
        .select_from(data_deadline.outerjoin(scheduled_job, of_both))
        .where(_ROW.job_id.is_(None))
        .limit(limit)
    )
    both = union_all(*(select(part.subquery().c.job_id) for part in (new, deleted))).subquery()
    return select(both.c.job_id)
