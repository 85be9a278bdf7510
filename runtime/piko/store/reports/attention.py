"""What needs a person: the facts of the whole installation in a few bounded reads.

Each read is bounded by the number of jobs or replicas, never by the history. What the facts mean, and what
cures each trouble, says `findings`, once for `piko status`, the API and the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select

from piko.core.types import JobStatus, RunState
from piko.model.objectives import JobObjective
from piko.store.engine import Database
from piko.store.reports import jobs, runs
from piko.store.reports.jobs import JobCounts, is_failing, is_late
from piko.store.reports.objectives import Objectives
from piko.store.reports.overview import JOB_COLUMNS, JOBS_JOINED, LATE_S, JobReport
from piko.store.reports.replicas import LeaseReport, ReplicaList, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.store.run_notes import REFUSED
from piko.store.schema.tables.operators import orphaned_row
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_NEEDS = 500
_REFUSED = 100
_LATELY = timedelta(days=1)
_HEARD_S = 3600.0

UNABLE = (JobStatus.INVALID, JobStatus.UNREGISTERED, JobStatus.WAITING_FOR_CONFIG)
"""A job of such a status does not run until somebody repairs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobInNeed:
    """A job that is late, fails, cannot run, has lost data to a bound, or whose resource is missing."""

    job: JobReport
    given_up_to: datetime | None = None
    """End of the data that a bound has dropped and that nobody has answered for."""
    missing: str | None = None
    """The resource that owns its row and no longer exists, since `missing_since`."""
    missing_since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedRun:
    """What sinks refused of the last run of a job."""

    job_id: str
    run_id: str
    text: str
    finished_at: datetime | None = None


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
    behind: Sequence[JobReport] = ()
    """Stateful jobs whose data may be late: their schedules say whether it is."""
    refused: Sequence[RefusedRun] = ()
    promised: Sequence[JobObjective] = ()
    """Jobs that have an objective."""
    left: Mapping[str, Sequence[RunName]] = field(default_factory=dict)
    """By silent replica: runs that were in progress there when it fell silent."""


async def read_facts(database: Database, *, at: datetime | None = None) -> Facts:
    """The facts `at` an instant, by default now by the database's clock; four statements.

    `behind`, `refused`, `promised` and `left` are left out: they cost more. Raises
    `DatabaseUnavailableError` and
    `SchemaVersionError`.
    """
    replicas = ReplicaList(database=database)
    leaders, server = await replicas.leaders()
    now = at or server.now
    counted, ran = await _counts(database, now)
    return Facts(
        now=now,
        server=server,
        leaders=leaders,
        replicas=[item for item in await replicas.replicas() if item.silent_s < _HEARD_S],
        jobs=counted,
        runs=ran,
        needs=await _needs(database, now),
    )


async def read_all_facts(database: Database) -> Facts:
    """As `read_facts`, and nothing is left out."""
    facts = await read_facts(database)
    return replace(
        facts,
        behind=await read_behind(database, now=facts.now),
        refused=await read_refused(database),
        left=await read_left(database, facts.replicas),
        promised=list((await Objectives(database=database).all()).values()),
    )


async def _counts(database: Database, now: datetime) -> tuple[JobCounts, RunCounts]:
    of_jobs, of_runs = jobs.counters(now), runs.counters(now - _LATELY)
    statement = select(*of_jobs, *of_runs).select_from(JOBS_JOINED)
    async with database.statements() as connection:
        row = (await connection.execute(statement)).one()
    numbers = {name: int(value) for name, value in row._mapping.items()}
    return (
        JobCounts(**{column.name: numbers[column.name] for column in of_jobs}),
        RunCounts(**{column.name: numbers[column.name] for column in of_runs}),
    )


async def _needs(database: Database, now: datetime) -> list[JobInNeed]:
    """First those whose data is the oldest."""
    reached = func.coalesce(scheduled_job.c.last_data_time, job_state.c.last_success_at)
    unable = scheduled_job.c.enabled.is_(True) & job_state.c.status.in_(sorted(UNABLE))
    lost, orphan = job_state.c.given_up_to, orphaned_row.c
    of_row = (orphan.table_name == scheduled_job.name) & (orphan.job_id == scheduled_job.c.job_id)
    statement = (
        select(*JOB_COLUMNS, lost, orphan.managed_by.label("missing"), orphan.found_at)
        .select_from(JOBS_JOINED.outerjoin(orphaned_row, of_row))
        .where(or_(is_late(now), is_failing(), unable, lost.is_not(None), orphan.found_at.is_not(None)))
        .order_by(reached.is_not(None), reached, scheduled_job.c.job_id)
        .limit(_NEEDS)
    )
    async with database.statements() as connection:
        rows = (await connection.execute(statement)).all()
    return [
        JobInNeed(
            job=JobReport(**{name: row._mapping[name] for name in JobReport.__dataclass_fields__}),
            given_up_to=row.given_up_to,
            missing=row.missing,
            missing_since=row.found_at,
        )
        for row in rows
    ]


async def read_behind(database: Database, *, now: datetime) -> list[JobReport]:
    """Stateful jobs whose data may be late, the oldest data first: their schedules say whether it is."""
    statement = (
        select(*JOB_COLUMNS)
        .select_from(JOBS_JOINED)
        .where(
            scheduled_job.c.enabled.is_(True),
            job_state.c.status == JobStatus.SCHEDULED,
            job_definition.c.stateful.is_(True),
            scheduled_job.c.last_data_time < now - timedelta(seconds=LATE_S),
        )
        .order_by(scheduled_job.c.last_data_time, scheduled_job.c.job_id)
    )
    async with database.statements() as connection:
        return [JobReport(**row._mapping) for row in await connection.execute(statement)]


async def read_refused(database: Database) -> list[RefusedRun]:
    """What sinks refused of the last runs of jobs."""
    columns = job_run.c
    statement = (
        select(columns.job_id, columns.run_id, columns.error.label("text"), columns.finished_at)
        .select_from(job_state.join(job_run, columns.run_id == job_state.c.last_run_id))
        .where(columns.error.startswith(REFUSED, autoescape=True))
        .limit(_REFUSED)
    )
    async with database.statements() as connection:
        return [RefusedRun(**row._mapping) for row in await connection.execute(statement)]


async def read_left(database: Database, replicas: Sequence[ReplicaReport]) -> dict[str, tuple[RunName, ...]]:
    """By each silent one of `replicas`: runs that were in progress there; at most three each."""
    silent = {item.instance_id: item.heartbeat_at for item in replicas if item.silent}
    if not silent:
        return {}
    columns = job_run.c
    lost = (columns.state == RunState.LOST) & (columns.finished_at >= min(silent.values()))
    statement = (
        select(columns.instance_id, columns.job_id, columns.run_id)
        .where(columns.instance_id.in_(sorted(silent)), or_(columns.state == RunState.RUNNING, lost))
        .limit(_NEEDS)
    )
    found: dict[str, tuple[RunName, ...]] = {}
    async with database.statements() as connection:
        for row in await connection.execute(statement):
            name = RunName(job_id=row.job_id, run_id=row.run_id)
            found[row.instance_id] = (*found.get(row.instance_id, ()), name)[:3]
    return found
