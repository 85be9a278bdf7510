"""Runs that need a person: those that break a promise, and those that a silent replica left.

Of the runs that are queued or in progress, only those are looked at that were due long enough ago to break
the shortest promise of all. An index leads to them, by state and due time. What is promised of their jobs is
read with what else a page says of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Select,
    and_,
    bindparam,
    case,
    func,
    null,
    or_,
    select,
    type_coerce,
    union_all,
)

from piko.core.types import RunState, TriggerType
from piko.store.engine import Database
from piko.store.reports.objectives import soonest
from piko.store.reports.replicas import ReplicaReport
from piko.store.schema.column_types import INSTANT, KEY, SecondsAfter
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job

_MOST = 500
"""Of each kind."""
_NAMED = 3
"""Runs of one replica."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunName:
    """A run and its job."""

    job_id: str
    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverdueRuns:
    """The first due times of a job's runs that have not been tried, and that have not ended, in time."""

    unstarted_since: datetime | None
    unended_since: datetime


async def runs_in_need(
    database: Database, now: datetime, *, replicas: Sequence[ReplicaReport], overdue: datetime | None
) -> tuple[dict[str, OverdueRuns], dict[str, tuple[RunName, ...]]]:
    """By job, the open runs that break its promise; and, by silent replica, runs that it left.

    One statement, or none if there is nothing to look for.

    - `replicas`: those that may be silent.
    - `overdue`: no later due time can have broken the promise of a start or an end; None: none can have.
    """
    silent = {item.instance_id: item.heartbeat_at for item in replicas if item.silent}
    jobs: dict[str, OverdueRuns] = {}
    left: dict[str, tuple[RunName, ...]] = {}
    statement = _statement(overdue=overdue is not None, silent=bool(silent))
    if statement is None:
        return jobs, left
    values = {"now": now, "overdue": overdue, "silent": sorted(silent)}
    values["heard"] = min(silent.values(), default=None)
    async with database.statements() as connection:
        for row in await connection.execute(statement, values):
            if row.left_by is None:
                jobs[row.of_job] = OverdueRuns(unstarted_since=row.unstarted, unended_since=row.unended)
            else:
                name = RunName(job_id=row.of_job, run_id=row.run_id)
                left[row.left_by] = (*left.get(row.left_by, ()), name)
    return jobs, left


@cache
def _statement(*, overdue: bool, silent: bool) -> CompoundSelect[Any] | Select[Any] | None:
    """The statement, made once for each kind; None: there is nothing to look for."""
    asked = [*([_overdue_jobs()] if overdue else []), *([_left_runs()] if silent else [])]
    if not asked:
        return None
    return asked[0] if len(asked) == 1 else union_all(*asked)


def _overdue_jobs() -> Select[Any]:
    run, of_row = job_run.c, scheduled_job.c.job_id
    joined = job_run.join(scheduled_job, of_row == run.job_id).outerjoin(
        job_definition, job_definition.c.job_id == of_row
    )
    untried = and_(run.state == RunState.QUEUED, run.attempt == 1)
    open_runs = (
        select(run.job_id, run.scheduled_time, case((untried, run.scheduled_time)).label("untried"))
        .select_from(joined)
        .where(
            run.state.in_([RunState.QUEUED, RunState.RUNNING]),
            run.scheduled_time < bindparam("overdue", type_=INSTANT),
            run.trigger_type != TriggerType.BACKFILL,
            SecondsAfter(run.scheduled_time, soonest()) < bindparam("now", type_=INSTANT),
        )
        .limit(_MOST)
        .subquery()
        .c
    )
    return select(
        null().label("left_by"),
        open_runs.job_id.label("of_job"),
        null().label("run_id"),
        func.min(open_runs.untried, type_=INSTANT).label("unstarted"),
        func.min(open_runs.scheduled_time, type_=INSTANT).label("unended"),
    ).group_by(open_runs.job_id)


def _left_runs() -> Select[Any]:
    run = job_run.c
    lost = and_(run.state == RunState.LOST, run.finished_at >= bindparam("heard", type_=INSTANT))
    theirs = run.instance_id.in_(bindparam("silent", type_=KEY, expanding=True))
    runs = (
        select(run.instance_id, run.job_id, run.run_id, run.scheduled_time)
        .where(theirs, or_(run.state == RunState.RUNNING, lost))
        .limit(_MOST)
        .subquery()
    )
    first = runs.c.scheduled_time, runs.c.run_id
    place = func.row_number().over(partition_by=runs.c.instance_id, order_by=first).label("place")
    named = select(runs.c.instance_id, runs.c.job_id, runs.c.run_id, place).subquery()
    nothing = type_coerce(null(), INSTANT)
    return select(
        named.c.instance_id.label("left_by"),
        named.c.job_id.label("of_job"),
        named.c.run_id,
        nothing.label("unstarted"),
        nothing.label("unended"),
    ).where(named.c.place <= _NAMED)
