"""Runs that need a person: those that break a promise, and those that a silent replica left.

Of the runs that are queued or in progress, only those are looked at that were due long enough ago to break
the shortest promise of all. An index leads to them, by state and due time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, null, or_, select, union_all

from piko.core.types import RunState, TriggerType
from piko.model.objectives import JobObjective
from piko.store.engine import Database
from piko.store.reports.objectives import PROMISED, promise_of, soonest
from piko.store.reports.replicas import ReplicaReport
from piko.store.schema.column_types import SecondsAfter
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_MOST = 500
"""Of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunName:
    """A run and its job."""

    job_id: str
    run_id: str


async def runs_in_need(
    database: Database, now: datetime, *, replicas: Sequence[ReplicaReport], overdue: datetime | None
) -> tuple[list[JobObjective], dict[str, tuple[RunName, ...]]]:
    """Objectives that open runs break, one for each job; and, by silent replica, runs that it left.

    One statement, or none if there is nothing to look for.

    - `replicas`: those that may be silent.
    - `overdue`: no later due time can have broken the promise of a start or an end; None: none can have.
    """
    silent = {item.instance_id: item.heartbeat_at for item in replicas if item.silent}
    asked = [] if overdue is None else [_overdue_runs(now, overdue)]
    if silent:
        asked.append(_left_runs(silent))
    jobs: dict[str, JobObjective] = {}
    left: dict[str, tuple[RunName, ...]] = {}
    if not asked:
        return [], left
    statement = union_all(*(select(item.limit(_MOST).subquery()) for item in asked))
    async with database.statements() as connection:
        for row in await connection.execute(statement):
            if row.left_by is not None:
                name = RunName(job_id=row.of_job, run_id=row.run_id)
                left[row.left_by] = (*left.get(row.left_by, ()), name)[:3]
            elif (promise := promise_of(row)) is not None:
                jobs[row.of_job] = _with_run(jobs.get(row.of_job, promise), row)
    return list(jobs.values()), left


def _with_run(job: JobObjective, row: Row[Any]) -> JobObjective:
    due: datetime = row.due
    unended = min(job.unended_since or due, due)
    if row.state != RunState.QUEUED or row.attempt != 1:
        return replace(job, unended_since=unended)
    return replace(job, unended_since=unended, unstarted_since=min(job.unstarted_since or due, due))


def _overdue_runs(now: datetime, overdue: datetime) -> Select[Any]:
    run, of_row = job_run.c, scheduled_job.c.job_id
    # What says of a promise comes before what is read of the few runs that break one.
    joined = (
        job_run.join(scheduled_job, of_row == run.job_id)
        .outerjoin(job_definition, job_definition.c.job_id == of_row)
        .outerjoin(job_state, job_state.c.job_id == of_row)
    )
    return (
        select(*_run_columns(null()), *PROMISED)
        .select_from(joined)
        .where(
            run.state.in_([RunState.QUEUED, RunState.RUNNING]),
            run.scheduled_time < overdue,
            run.trigger_type != TriggerType.BACKFILL,
            SecondsAfter(run.scheduled_time, soonest()) < now,
        )
    )


def _left_runs(silent: Mapping[str, datetime]) -> Select[Any]:
    run = job_run.c
    lost = (run.state == RunState.LOST) & (run.finished_at >= min(silent.values()))
    nothing = [null().label(column.name) for column in PROMISED]
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
