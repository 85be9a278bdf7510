"""What needs a person: the facts of the whole installation in a few bounded reads, and what they mean.

Each read is bounded by the number of jobs or replicas, never by the history. `findings` is pure: one sentence
for each trouble, and the command that shows more of it or repairs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import JobStatus, RunState
from piko.errors import PikoError
from piko.schedule import parse_schedule
from piko.store.engine import Database
from piko.store.reports.overview import JobReport, Overview
from piko.store.run_notes import REFUSED
from piko.store.schema.column_types import Now
from piko.store.schema.tables.operators import orphaned_row
from piko.store.schema.tables.replicas import leader_lease, runtime_instance
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.states import job_state

_REPLICAS = 200
_REFUSED = 100
_RECENT = timedelta(days=1)
_SILENT = timedelta(seconds=60)
"""A replica that neither stopped nor was heard of for as long is in trouble, or was killed."""
_LATE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaderFacts:
    """One lease: `holder_host` is None if it was released."""

    name: str
    epoch: int
    holder_host: str | None
    acquired_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFacts:
    """One start of a replica that has not stopped by itself."""

    instance_id: str
    app: str
    host: str
    version: str
    heartbeat_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database says of the whole installation. `now` is by its clock."""

    now: datetime
    leaders: Sequence[LeaderFacts]
    replicas: Sequence[ReplicaFacts]
    jobs: Sequence[JobReport]
    running: int
    queued: int
    given_up: Sequence[str] = ()
    """Stateful jobs of which a bound has dropped data that nobody has answered for."""
    refused: Sequence[tuple[str, str, str]] = ()
    """Job, run and text where sinks refused records of the job's last run."""
    orphaned: Sequence[tuple[str, str]] = ()
    """Job and owner of rows whose resource is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Concern:
    """One trouble: of which kind, whose, in one sentence, since when, and what to do."""

    kind: str
    subject: str
    text: str
    remedy: str
    since: datetime | None = None


async def read_facts(database: Database) -> Facts:
    """Raises `DatabaseUnavailableError` and `SchemaVersionError`."""
    jobs = await Overview(database=database).jobs()
    async with database.statements() as connection:
        now = (await connection.execute(select(Now().label("now")))).scalar_one()
        return Facts(
            now=now,
            leaders=await _leaders(connection),
            replicas=await _replicas(connection, now),
            jobs=jobs,
            running=await _count(connection, RunState.RUNNING),
            queued=await _count(connection, RunState.QUEUED),
            given_up=await _given_up(connection),
            refused=await _refused(connection),
            orphaned=await _orphaned(connection),
        )


async def _leaders(connection: AsyncConnection) -> list[LeaderFacts]:
    columns = [leader_lease.c[name] for name in LeaderFacts.__dataclass_fields__]
    rows = await connection.execute(select(*columns).order_by(leader_lease.c.name).limit(_REPLICAS))
    return [LeaderFacts(**row._mapping) for row in rows]


async def _replicas(connection: AsyncConnection, now: datetime) -> list[ReplicaFacts]:
    beats = runtime_instance.c.heartbeat_at
    columns = [runtime_instance.c[name] for name in ReplicaFacts.__dataclass_fields__]
    recent = select(*columns).where(beats > now - _RECENT, runtime_instance.c.stopped_at.is_(None))
    rows = await connection.execute(recent.order_by(beats.desc()).limit(_REPLICAS))
    return [ReplicaFacts(**row._mapping) for row in rows]


async def _count(connection: AsyncConnection, state: RunState) -> int:
    counted = select(func.count()).select_from(job_run).where(job_run.c.state == state.value)
    return int((await connection.execute(counted)).scalar_one())


async def _given_up(connection: AsyncConnection) -> list[str]:
    dropped = select(job_state.c.job_id).where(job_state.c.given_up_to.is_not(None))
    return list((await connection.execute(dropped.order_by(job_state.c.job_id))).scalars())


async def _refused(connection: AsyncConnection) -> list[tuple[str, str, str]]:
    statement = (
        select(job_run.c.job_id, job_run.c.run_id, job_run.c.error)
        .select_from(job_state.join(job_run, job_run.c.run_id == job_state.c.last_run_id))
        .where(job_run.c.error.startswith(REFUSED, autoescape=True))
        .limit(_REFUSED)
    )
    return [(row.job_id, row.run_id, row.error) for row in await connection.execute(statement)]


async def _orphaned(connection: AsyncConnection) -> list[tuple[str, str]]:
    statement = select(orphaned_row.c.job_id, orphaned_row.c.managed_by).limit(_REFUSED)
    return [(row.job_id, row.managed_by) for row in await connection.execute(statement)]


# ---- what they mean -------------------------------------------------------------------------------


def findings(facts: Facts, *, timezone: str) -> list[Concern]:
    """Every trouble, what concerns all jobs first. `timezone`: of schedules that name none."""
    found = [*_of_leaders(facts), *_of_replicas(facts)]
    for job in facts.jobs:
        found += _of_job(job, facts.now, timezone)
    found += [
        Concern(
            kind="data_dropped",
            subject=job_id,
            text="a bound of its backlog has dropped data",
            remedy=f"piko jobs {job_id}",
        )
        for job_id in facts.given_up
    ]
    found += [
        Concern(kind="records_refused", subject=job_id, text=text, remedy=f"piko spool list --run {run_id}")
        for job_id, run_id, text in facts.refused
    ]
    found += [
        Concern(
            kind="resource_missing",
            subject=job_id,
            text=f"its row belongs to the resource {owner}, which no longer exists",
            remedy="apply the resource again, or the operator removes the row after a day",
        )
        for job_id, owner in facts.orphaned
    ]
    return found


def _of_leaders(facts: Facts) -> list[Concern]:
    remedy = "start a replica (`piko run`), or see /readyz and the log of those that run"
    if not facts.leaders:
        return [Concern(kind="no_leader", subject="leader", text="there has never been one", remedy=remedy)]
    found = []
    for lease in facts.leaders:
        if lease.holder_host is None:
            text, since = "the last leader released its lease, and no replica has taken it", None
        elif lease.expires_at is not None and lease.expires_at < facts.now:
            text, since = f"the lease of {lease.holder_host} expired, and nobody took it", lease.expires_at
        else:
            continue
        subject = f"leader {lease.name!r}"
        found.append(Concern(kind="no_leader", subject=subject, text=text, remedy=remedy, since=since))
    return found


def _of_replicas(facts: Facts) -> list[Concern]:
    return [
        Concern(
            kind="silent_replica",
            subject=f"replica {replica.host}",
            text="it sends no heartbeats: it was killed, cannot reach the database, or a handler blocks its "
            "event loop",
            remedy="see its log: `event_loop_blocked` names the job and where it stands",
            since=replica.heartbeat_at,
        )
        for replica in facts.replicas
        if replica.heartbeat_at < facts.now - _SILENT
    ]


_STATUSES = {
    JobStatus.INVALID: ("invalid", "repair the row or its resource"),
    JobStatus.UNREGISTERED: ("unregistered", "deploy a replica with the code of the job, or pause it"),
    JobStatus.WAITING_FOR_CONFIG: ("waits_for_config", "apply a config"),
}


def _of_job(job: JobReport, now: datetime, timezone: str) -> list[Concern]:
    if not job.enabled:
        return []
    found = []
    if job.status is not None and (trouble := _STATUSES.get(JobStatus(job.status))):
        kind, remedy = trouble
        text = (job.message or job.status).partition("\n")[0]
        remedy = f"{remedy}; piko why {job.job_id}"
        return [Concern(kind=kind, subject=job.job_id, text=text, remedy=remedy)]
    if job.consecutive_failures:
        error = (job.last_error or "no error was recorded").partition("\n")[0]
        found.append(
            Concern(
                kind="failing",
                subject=job.job_id,
                text=f"{job.consecutive_failures} failed in a row: {error}",
                remedy=f"piko logs {job.job_id}",
                since=job.last_success_at,
            )
        )
    if job.stateful and (behind := _windows_behind(job, now, timezone)) is not None:
        found.append(
            Concern(
                kind="late_data",
                subject=job.job_id,
                text="its data is more than one window behind",
                remedy=f"piko why {job.job_id}",
                since=behind,
            )
        )
    elif job.next_run_at is not None and job.next_run_at < now - _LATE:
        text = "it is due and has not been claimed"
        remedy = f"piko why {job.job_id}"
        found.append(
            Concern(kind="late", subject=job.job_id, text=text, remedy=remedy, since=job.next_run_at)
        )
    return found


def _windows_behind(job: JobReport, now: datetime, timezone: str) -> datetime | None:
    """Since when the data of a stateful job is late by more than a window; None: it is not."""
    if job.last_data_time is None:
        return None
    try:
        schedule = parse_schedule(
            job_id=job.job_id,
            schedule_type=job.schedule_type,
            schedule_expr=job.schedule_expr,
            timezone=job.timezone or timezone,
            start_at=job.start_at,
            end_at=job.end_at,
        )
    except PikoError:
        return None  # the status of the job says so
    coming = schedule.next_two_after(job.last_data_time)
    return coming[1] if coming is not None and coming[1] < now - _LATE else None
