"""Jobs for people, a page at a time, and how many of them need someone.

Each statement reads rows of the jobs, of which there are thousands; none reads the runs, of which there are
millions. A page is found and sorted by keys alone, and only its own jobs are read as a whole: their texts
would be most of what a sort moves. `is_late` and `is_failing` are the rules of `JobReport` as conditions, for
lists and counters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Label, Select, and_, case, false, func, or_, select

from piko.core.types import FAILED_STATES, JobStatus
from piko.model.objectives import LATE_S
from piko.store.engine import Database
from piko.store.reports.overview import JOB_COLUMNS, JOBS_JOINED, JobReport
from piko.store.schema.column_types import Moment
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_WITH_STATES = scheduled_job.outerjoin(job_state, job_state.c.job_id == scheduled_job.c.job_id)

BOUND = 1000
"""Of jobs in a trouble, no more are counted."""

JobKey = tuple[datetime | int | None, str]
"""Where a job stands in a list: what the list is sorted by, and its id."""


class JobOrder(StrEnum):
    """The order of a list of jobs."""

    JOB_ID = "job_id"
    NEXT = "next"
    """The next due time first; last those that have none."""
    FAILURES = "failures"
    """The most failures in a row first."""


class RowOwner(StrEnum):
    """Who owns the row of a job."""

    SQL = "sql"
    RESOURCE = "resource"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list has: those that pass every part that is given.

    `text` is part of the id; `states` are words of `job_state.status`; `late` and `failing` as the module
    says; `namespace` is that of the resource which owns the row.
    """

    text: str | None = None
    states: tuple[str, ...] = ()
    late: bool | None = None
    failing: bool | None = None
    enabled: bool | None = None
    owner: RowOwner | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobCounts:
    """How many jobs there are, are paused, and need someone; of a trouble none is counted beyond 1,000."""

    jobs: int
    late: int
    failing: int
    waiting: int
    invalid: int
    unregistered: int
    disabled: int


class JobList:
    """Reads lists of jobs."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def page(
        self, wanted: JobFilter, *, now: datetime, order: JobOrder, after: JobKey | None, limit: int
    ) -> list[JobReport]:
        """At most `limit` jobs that pass `wanted`, after the key `after`, see `key_of`."""
        keys = select(scheduled_job.c.job_id).select_from(_WITH_STATES).where(*_conditions(wanted, now))
        if after is not None:
            keys = keys.where(_beyond(order, after))
        chosen = keys.order_by(*_places(order)).limit(limit).subquery()
        statement = (
            select(*JOB_COLUMNS)
            .select_from(JOBS_JOINED.join(chosen, chosen.c.job_id == scheduled_job.c.job_id))
            .order_by(*_places(order))
        )
        async with self._database.statements() as connection:
            return [JobReport(**row._mapping) for row in await connection.execute(statement)]

    async def count(self, wanted: JobFilter, *, now: datetime) -> int:
        """How many jobs pass `wanted`."""
        statement = select(func.count()).select_from(_WITH_STATES).where(*_conditions(wanted, now))
        async with self._database.statements() as connection:
            return int((await connection.execute(statement)).scalar_one())

    async def counts(self, *, now: datetime) -> JobCounts:
        """The counters of all jobs, in one statement."""
        async with self._database.statements() as connection:
            row = (await connection.execute(counters(late_before(now)))).one()
        return JobCounts(**{name: int(value) for name, value in row._mapping.items()})


def counters(late: Moment, *others: Label[Any], of_rows: Sequence[Label[Any]] = ()) -> Select[Any]:
    """One row with the columns of `JobCounts` and others, for which no more is read of jobs that are well.

    All jobs are counted in one narrow index, which says which are paused; each trouble in its own, see
    `jobs_in_need`, and with a look at each row, since what is paused needs nobody: hence the bound.

    - `late`: what was due before that instant and waits is late.
    - `others`: columns that need no table beside them.
    - `of_rows`: aggregates over `scheduled_job`.
    """
    status, paused = job_state.c.status, scheduled_job.c.enabled.is_(False)
    rows = select(
        func.count().label("jobs"),
        func.coalesce(func.sum(case((paused, 1), else_=0)), 0).label("disabled"),
        *of_rows,
    )
    troubles: dict[str, ColumnElement[bool]] = {
        "late": waits_since(late),
        "failing": is_failing(),
        "waiting": status == JobStatus.WAITING_FOR_CONFIG,
        "invalid": status == JobStatus.INVALID,
        "unregistered": status == JobStatus.UNREGISTERED,
    }
    with_rows = job_state.join(scheduled_job, scheduled_job.c.job_id == job_state.c.job_id)
    found = select(job_state.c.job_id).select_from(with_rows).limit(BOUND)
    return select(
        rows.select_from(scheduled_job).subquery(),
        *(
            select(func.count()).select_from(found.where(trouble).subquery()).scalar_subquery().label(name)
            for name, trouble in troubles.items()
        ),
        *others,
    )


def key_of(job: JobReport, order: JobOrder) -> JobKey:
    """Where `job` stands in `order`."""
    if order is JobOrder.NEXT:
        return job.next_run_at, job.job_id
    return (job.consecutive_failures or 0) if order is JobOrder.FAILURES else None, job.job_id


_failures = func.coalesce(job_state.c.consecutive_failures, 0)


def _places(order: JobOrder) -> list[ColumnElement[Any]]:
    if order is JobOrder.NEXT:
        return [job_state.c.next_run_at.is_(None), job_state.c.next_run_at, scheduled_job.c.job_id]
    return [*([_failures.desc()] if order is JobOrder.FAILURES else []), scheduled_job.c.job_id]


def _beyond(order: JobOrder, after: JobKey) -> ColumnElement[bool]:
    value, job_id = after
    later_id = scheduled_job.c.job_id > job_id
    if order is JobOrder.JOB_ID:
        return later_id
    if order is JobOrder.FAILURES:
        return or_(_failures < value, and_(_failures == value, later_id))
    next_run_at = job_state.c.next_run_at
    if value is None:
        return and_(next_run_at.is_(None), later_id)
    return or_(next_run_at.is_(None), next_run_at > value, and_(next_run_at == value, later_id))


def _conditions(wanted: JobFilter, now: datetime) -> list[ColumnElement[bool]]:
    columns = scheduled_job.c
    found: list[ColumnElement[bool]] = []
    if wanted.text:
        # Ids are ASCII, and MySQL compares no other text with them.
        found.append(
            columns.job_id.contains(wanted.text, autoescape=True) if wanted.text.isascii() else false()
        )
    if wanted.states:
        found.append(job_state.c.status.in_(sorted(wanted.states)))
    if wanted.late is not None:
        found.append(is_late(now) if wanted.late else func.coalesce(~is_late(now), True))
    if wanted.failing is not None:
        found.append(is_failing() if wanted.failing else func.coalesce(~is_failing(), True))
    if wanted.enabled is not None:
        found.append(columns.enabled.is_(wanted.enabled))
    if wanted.owner is RowOwner.SQL:
        found.append(columns.managed_by.is_(None))
    if wanted.owner is RowOwner.RESOURCE:
        found.append(columns.managed_by.is_not(None))
    if wanted.namespace is not None:
        found.append(columns.managed_by.contains(f"/{wanted.namespace}/", autoescape=True))
    return found


def is_late(now: datetime) -> ColumnElement[bool]:
    """`JobReport.is_late`, in SQL."""
    return waits_since(late_before(now))


def late_before(now: datetime) -> datetime:
    """What was due before that instant and waits `now` is late."""
    return now - timedelta(seconds=LATE_S)


def waits_since(instant: Moment) -> ColumnElement[bool]:
    """Jobs that were due before `instant` and that nothing has claimed."""
    return and_(
        scheduled_job.c.enabled.is_(True),
        job_state.c.status == JobStatus.SCHEDULED,
        job_state.c.next_run_at < instant,
    )


def is_failing() -> ColumnElement[bool]:
    """`JobReport.is_failing`, in SQL."""
    return and_(
        scheduled_job.c.enabled.is_(True),
        job_state.c.consecutive_failures > 0,
        job_state.c.last_state.in_(sorted(FAILED_STATES)),
    )
