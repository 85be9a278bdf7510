"""What has happened lately: runs that ended, jobs that changed or became late, and who leads.

One look is three bounded statements, whatever the history: ended runs by the index on `finished_at`, changed
jobs among the rows of the jobs, and the leases.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, select, union_all

from piko.model.objectives import LATE_S
from piko.store.engine import Database
from piko.store.schema.column_types import Now
from piko.store.schema.tables.replicas import leader_lease
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

MOST = 500
"""Of runs and of jobs, each; the newest."""
_LEASES = 200
_OVERLAP = timedelta(seconds=10)
"""Outcomes are written that much later than they happened, at most; what comes later is found by its job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRunSeen:
    """A run that ended."""

    run_id: str
    job_id: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobChangeSeen:
    """A job whose row or state was written at that instant, or that was due then and is late now."""

    job_id: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Happenings:
    """What one look finds: since the instant that was asked for, and who leads `now`."""

    now: datetime
    runs: Sequence[EndedRunSeen]
    jobs: Sequence[JobChangeSeen]
    leaders: Sequence[tuple[str, int, str | None, bool]]
    """Of each lease: name, epoch, holder, and whether it has not expired."""


async def happenings_since(database: Database, moment: datetime | None) -> Happenings:
    """Runs that ended and jobs that changed since the look of `moment`, the newest first; None: by now.

    Outcomes are written a little after they happened and not strictly in order, so a look begins somewhat
    before the last one, and its reader skips what it knows. Raises `DatabaseUnavailableError`.
    """
    async with database.statements() as connection:
        leases = (await connection.execute(_leases())).all()
        now = leases[0].now
        since = (now if moment is None else moment) - _OVERLAP
        runs = await connection.execute(
            select(job_run.c.run_id, job_run.c.job_id, job_run.c.state)
            .where(job_run.c.finished_at >= since)
            .order_by(job_run.c.finished_at.desc())
            .limit(MOST)
        )
        jobs = await connection.execute(_changed_jobs(since, now))
        return Happenings(
            now=now,
            runs=[EndedRunSeen(**row._mapping) for row in runs],
            jobs=[JobChangeSeen(**row._mapping) for row in jobs],
            leaders=[
                (row.name, row.epoch, row.holder, row.expires_at is not None and row.expires_at > now)
                for row in leases
                if row.name is not None
            ],
        )


def _leases() -> Select[Any]:
    columns = leader_lease.c
    # Outer, so that the database says its time where nobody has led yet, too.
    clock = select(Now().label("now")).subquery()
    return (
        select(clock.c.now, columns.name, columns.epoch, columns.holder, columns.expires_at)
        .select_from(clock.outerjoin(leader_lease, columns.name.is_not(None)))
        .order_by(columns.name)
        .limit(_LEASES)
    )


def _changed_jobs(since: datetime, now: datetime) -> Select[Any]:
    late_after = timedelta(seconds=LATE_S)
    due, state = job_state.c.next_run_at, job_state.c
    found = (
        (state.job_id, state.updated_at, [state.updated_at >= since]),
        (scheduled_job.c.job_id, scheduled_job.c.updated_at, [scheduled_job.c.updated_at >= since]),
        (state.job_id, due, [due >= since - late_after, due < now - late_after]),
    )
    each = [
        select(job_id, at.label("at")).where(*conditions).order_by(at.desc()).limit(MOST).subquery()
        for job_id, at, conditions in found
    ]
    together = union_all(*(select(one) for one in each)).subquery()
    return select(together).order_by(together.c.at.desc()).limit(MOST)
