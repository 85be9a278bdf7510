"""What needs a person: the facts of the whole installation in a few bounded reads.

Each read is bounded by the number of jobs or replicas, never by the history. What the facts mean, and what
cures each trouble, says `findings`, once for `piko status`, the API and the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, case, func, literal, null, or_, select, union_all

from piko.core.types import JobStatus, RunState, TriggerType
from piko.model.objectives import JobObjective
from piko.store.engine import Database
from piko.store.reports import jobs, runs
from piko.store.reports.jobs import JobCounts, is_failing, is_late
from piko.store.reports.objectives import (
    OBJECTIVE_COLUMNS,
    may_lack_a_start_or_an_end,
    may_lack_data,
    soonest,
)
from piko.store.reports.overview import JOB_COLUMNS, JOBS_JOINED, LATE_S, JobReport
from piko.store.reports.replicas import LeaseReport, ReplicaList, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.store.run_notes import REFUSED
from piko.store.schema.column_types import SecondsAfter
from piko.store.schema.tables.operators import orphaned_row
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_NEEDS = 500
_COMING = 2
_LATELY = timedelta(days=1)
_HEARD = timedelta(hours=1)

UNABLE = (JobStatus.INVALID, JobStatus.UNREGISTERED, JobStatus.WAITING_FOR_CONFIG)
"""A job of such a status does not run until somebody repairs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInNeed:
    """A job that is late, fails, cannot run, or whose resource is missing; or whose data may be late.

    Whether its data is late, its schedule says: the database knows no schedules.
    """

    job: JobReport
    given_up_to: datetime | None = None
    """End of the data that a bound has dropped and that nobody has answered for."""
    missing: str | None = None
    """The resource that owns its row and no longer exists, since `missing_since`."""
    missing_since: datetime | None = None
    last_run_id: str | None = None
    promise: JobObjective | None = None
    """Its objective, without its open runs: those that break it are among `Facts.overdue`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunName:
    """A run and its job."""

    job_id: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database says of the whole installation. `now` is by its clock."""

    now: datetime
    server: ServerReport
    leaders: Sequence[LeaseReport]
    replicas: Sequence[ReplicaReport]
    """Those that were heard of within an hour: what was killed before is history."""
    jobs: JobCounts
    runs: RunCounts
    needs: Sequence[JobInNeed]
    """What needs a person for certain, first; then what may."""
    overdue: Sequence[JobObjective] = ()
    """Objectives with an open run that has not started, or not ended, as soon as is promised."""
    left: Mapping[str, Sequence[RunName]] = field(default_factory=dict)
    """By silent replica: runs that were in progress there when it fell silent; at most three each."""
    coming: Sequence[JobReport] = ()
    """What is due next, if that was asked for and no job needs anyone for certain."""


async def read_facts(database: Database, *, at: datetime | None = None, coming: int = 0) -> Facts:
    """The facts `at` an instant, by default now by the database's clock; five statements.

    `coming`: of how many jobs to read when they are due next, if no job needs anyone. Raises
    `DatabaseUnavailableError` and `SchemaVersionError`.
    """
    replicas = ReplicaList(database=database)
    leaders, server = await replicas.leaders()
    now = at or server.now
    counted, ran = await _counts(database, now)
    heard = await replicas.replicas(since=server.now - _HEARD)
    overdue, left = await _open_runs(database, now, heard)
    needed = counted.late or counted.failing or counted.invalid or counted.waiting or counted.unregistered
    needs, later = await _needs(database, now, coming=0 if needed else coming)
    return Facts(
        now=now,
        server=server,
        leaders=leaders,
        replicas=heard,
        jobs=counted,
        runs=ran,
        needs=needs,
        coming=later,
        overdue=overdue,
        left=left,
    )


async def _counts(database: Database, now: datetime) -> tuple[JobCounts, RunCounts]:
    of_runs = runs.counters(now - _LATELY)
    async with database.statements() as connection:
        row = (await connection.execute(jobs.counters(now, *of_runs))).one()
    numbers = {name: int(value) for name, value in row._mapping.items()}
    ran = {column.name: numbers.pop(column.name) for column in of_runs}
    return JobCounts(**numbers), RunCounts(**ran)


async def _needs(
    database: Database, now: datetime, *, coming: int
) -> tuple[list[JobInNeed], list[JobReport]]:
    """What is certain first, and of that the oldest data first; then the `coming` that are due next."""
    statement: Select[Any] = _in_need(now)
    if coming:
        enabled, due = scheduled_job.c.enabled.is_(True), job_state.c.next_run_at
        later = _first(
            literal(_COMING), and_(enabled, due.is_not(None)), [due, scheduled_job.c.job_id], most=coming
        )
        together = union_all(select(statement.subquery()), select(later.subquery()))
        statement = select(together.subquery())
    async with database.statements() as connection:
        rows = sorted((await connection.execute(statement)).all(), key=_place)
    needs = [
        JobInNeed(
            job=_job(row),
            given_up_to=row.given_up_to,
            missing=row.missing,
            missing_since=row.found_at,
            last_run_id=row.last_run_id,
            promise=_promise(row),
        )
        for row in rows
        if row.place != _COMING
    ]
    return needs, [_job(row) for row in rows if row.place == _COMING]


def _in_need(now: datetime) -> Select[Any]:
    state, orphan = job_state.c, orphaned_row.c
    unable = scheduled_job.c.enabled.is_(True) & state.status.in_(sorted(UNABLE))
    refused = state.last_error.startswith(REFUSED, autoescape=True)
    lost, missing = state.given_up_to.is_not(None), orphan.found_at.is_not(None)
    certain = or_(is_late(now), is_failing(), unable, lost, missing, refused)
    possible = or_(_may_be_behind(now), may_lack_data(now), may_lack_a_start_or_an_end(now))
    place = case((certain, 0), else_=1)
    order = [place, _REACHED.is_not(None), _REACHED, scheduled_job.c.job_id]
    return _first(place, or_(certain, possible), order, most=_NEEDS)


def _first(
    place: ColumnElement[int], wanted: ColumnElement[bool], order: Sequence[ColumnElement[Any]], *, most: int
) -> Select[Any]:
    """The first `most` by `order`, in any order: their ids are sorted, and then their rows are read."""
    orphan = orphaned_row.c
    of_row = (orphan.table_name == scheduled_job.name) & (orphan.job_id == scheduled_job.c.job_id)
    joined = JOBS_JOINED.outerjoin(orphaned_row, of_row)
    keys = select(scheduled_job.c.job_id, place.label("place")).select_from(joined).where(wanted)
    chosen = keys.order_by(*order).limit(most).subquery()
    return (
        select(*JOB_COLUMNS, chosen.c.place, _REACHED.label("reached"))
        .add_columns(job_state.c.given_up_to, job_state.c.last_run_id)
        .add_columns(orphan.managed_by.label("missing"), orphan.found_at, *_PROMISED)
        .select_from(joined.join(chosen, chosen.c.job_id == scheduled_job.c.job_id))
    )


def _place(row: Row[Any]) -> tuple[Any, ...]:
    """The same order as the statement's: parts that are put together have none."""
    if row.place == _COMING:
        return row.place, False, row.next_run_at, row.job_id
    return row.place, row.reached is not None, row.reached or datetime.max.replace(tzinfo=UTC), row.job_id


def _job(row: Row[Any]) -> JobReport:
    values = row._mapping  # once: hundreds of rows, each with dozens of columns
    return JobReport(**{name: values[name] for name in _REPORTED})


def _may_be_behind(now: datetime) -> ColumnElement[bool]:
    """Stateful jobs whose watermark has fallen behind what is claimed; what is not claimed is late itself."""
    return and_(
        scheduled_job.c.enabled.is_(True),
        job_state.c.status == JobStatus.SCHEDULED,
        job_definition.c.stateful.is_(True),
        scheduled_job.c.last_data_time < now - timedelta(seconds=LATE_S),
        or_(job_state.c.cursor_at.is_(None), scheduled_job.c.last_data_time < job_state.c.cursor_at),
    )


def _promise(row: Row[Any]) -> JobObjective | None:
    values = row._mapping
    if not any(values[name] for name in _PROMISES):
        return None
    return JobObjective(**{name: values[_PREFIX + name] for name in _PROMISED_NAMES})


async def _open_runs(
    database: Database, now: datetime, replicas: Sequence[ReplicaReport]
) -> tuple[list[JobObjective], dict[str, tuple[RunName, ...]]]:
    """Open runs that break an objective, by job; and, by silent replica, the runs that it left."""
    silent = {item.instance_id: item.heartbeat_at for item in replicas if item.silent}
    asked = [_overdue_runs(now), *([_left_runs(silent)] if silent else [])]
    statement = union_all(*(select(item.limit(_NEEDS).subquery()) for item in asked))
    jobs: dict[str, JobObjective] = {}
    left: dict[str, tuple[RunName, ...]] = {}
    async with database.statements() as connection:
        for row in await connection.execute(statement):
            if row.left_by is not None:
                name = RunName(job_id=row.of_job, run_id=row.run_id)
                left[row.left_by] = (*left.get(row.left_by, ()), name)[:3]
            elif (promise := _promise(row)) is not None:
                jobs[row.of_job] = _with_run(jobs.get(row.of_job, promise), row)
    return list(jobs.values()), left


def _with_run(job: JobObjective, row: Row[Any]) -> JobObjective:
    due: datetime = row.due
    unended = min(job.unended_since or due, due)
    if row.state != RunState.QUEUED or row.attempt != 1:
        return replace(job, unended_since=unended)
    return replace(job, unended_since=unended, unstarted_since=min(job.unstarted_since or due, due))


def _overdue_runs(now: datetime) -> Select[Any]:
    run = job_run.c
    return (
        select(*_run_columns(null()), *_PROMISED)
        .select_from(JOBS_JOINED.join(job_run, run.job_id == scheduled_job.c.job_id))
        .where(
            run.state.in_([RunState.QUEUED, RunState.RUNNING]),
            run.trigger_type != TriggerType.BACKFILL,
            SecondsAfter(run.scheduled_time, soonest()) < now,
        )
    )


def _left_runs(silent: Mapping[str, datetime]) -> Select[Any]:
    run = job_run.c
    lost = (run.state == RunState.LOST) & (run.finished_at >= min(silent.values()))
    nothing = [null().label(column.name) for column in _PROMISED]
    return select(*_run_columns(run.instance_id), *nothing).where(
        run.instance_id.in_(sorted(silent)), or_(run.state == RunState.RUNNING, lost)
    )


def _run_columns(left_by: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    run = job_run.c
    return [
        left_by.label("left_by"),
        run.job_id.label("of_job"),
        run.run_id,
        run.state,
        run.attempt,
        run.scheduled_time.label("due"),
    ]


_REACHED = func.coalesce(scheduled_job.c.last_data_time, job_state.c.last_success_at)
_REPORTED = tuple(JobReport.__dataclass_fields__)
_PREFIX = "promise_"
_PROMISES = tuple(f"{_PREFIX}{name}" for name in ("data_within_s", "start_within_s", "finish_within_s"))
_PROMISED = [column.label(_PREFIX + column.name) for column in OBJECTIVE_COLUMNS]
_PROMISED_NAMES = [column.name for column in OBJECTIVE_COLUMNS]
