"""Jobs with an objective, and how far each has come: what their deadlines follow from.

The row of a job says what is promised; where it is silent, what its code has published. A job that promises
nothing is not read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Label, Row, Select, and_, case, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from piko.core.types import RunState, TriggerType
from piko.model.objectives import JobObjective
from piko.store.chunks import chunks
from piko.store.engine import Database
from piko.store.schema.column_types import INSTANT, Moment, SecondsAfter
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.runs import job_run
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

_CHUNK = 1000
_PROMISES = ("data_within_s", "start_within_s", "finish_within_s")

Sign = tuple[object, ...]

_row, _state, _code = scheduled_job.c, job_state.c, job_definition.c
_JOINED = scheduled_job.outerjoin(job_state, _state.job_id == _row.job_id).outerjoin(
    job_definition, _code.job_id == _row.job_id
)
_PROMISED: dict[str, ColumnElement[Any]] = {
    name: func.coalesce(_row[name], _code[name]).label(name) for name in _PROMISES
}
HAS_OBJECTIVE = or_(*(promised.is_not(None) for promised in _PROMISED.values()))
"""Whether a job promises anything, over the tables that `OBJECTIVE_COLUMNS` come from."""
_JOINED_IN: dict[str, ColumnElement[Any]] = {
    **_PROMISED,
    "timezone": func.coalesce(_row.timezone, _code.timezone).label("timezone"),
    "stateful": func.coalesce(_code.stateful, False).label("stateful"),
    "last_success_at": _state.last_success_at,
    "cursor_at": _state.cursor_at,
}
_OF_RUNS = ("unstarted_since", "unended_since")
_NAMES = [item.name for item in fields(JobObjective) if item.name not in _OF_RUNS]
OBJECTIVE_COLUMNS: list[ColumnElement[Any]] = [
    _JOINED_IN[name] if name in _JOINED_IN else _row[name] for name in _NAMES
]
"""The fields of `JobObjective` but for those of its runs, in their order."""
_PREFIX = "promise_"
PROMISED = [column.label(_PREFIX + column.name) for column in OBJECTIVE_COLUMNS]
"""The same under names of their own, beside columns of other reports."""


def promise_of(row: Row[Any]) -> JobObjective | None:
    """The objective in the columns `PROMISED`, which are the last of `row`; None: nothing is promised."""
    values = dict(zip(_NAMES, row[-len(_NAMES) :], strict=True))  # by place: there are hundreds of rows
    return JobObjective(**values) if any(values[name] for name in _PROMISES) else None


def may_lack_data(now: Moment) -> ColumnElement[bool]:
    """Whether the promise of data may be broken: true for each job whose is, and for few others."""
    within = func.coalesce(_row.data_within_s, _code.data_within_s)
    reached = case(
        (_code.stateful.is_(True), func.coalesce(_row.last_data_time, _row.created_at)),
        else_=func.coalesce(_state.last_success_at, _row.created_at),
    )
    coming = _state.next_run_at
    return and_(
        within.is_not(None),
        SecondsAfter(reached, within) < now,
        or_(
            coming.is_(None),
            _state.cursor_at.is_(None),
            reached < _state.cursor_at,
            SecondsAfter(coming, within) < now,
        ),
    )


def may_lack_a_start_or_an_end(now: Moment) -> ColumnElement[bool]:
    """Whether the due time to come may break a promise: true for each job whose does, and for few others."""
    return SecondsAfter(_state.next_run_at, soonest()) < now


def soonest() -> ColumnElement[Any]:
    """Within how many seconds a run has to start or to end, whichever is first; NULL: neither is promised."""
    return _first_of(
        func.coalesce(_row.start_within_s, _code.start_within_s),
        func.coalesce(_row.finish_within_s, _code.finish_within_s),
    )


def _first_of(start: ColumnElement[Any], finish: ColumnElement[Any]) -> ColumnElement[Any]:
    return case((start.is_(None), finish), (finish < start, finish), else_=start)


SOONEST_OF_ROWS = func.min(_first_of(_row.start_within_s, _row.finish_within_s)).label("soonest_of_rows")
"""The least that any row says of `soonest`, over `scheduled_job`."""


def _least_of_code(name: str, value: ColumnElement[Any], *conditions: ColumnElement[bool]) -> Label[Any]:
    return select(func.min(value)).where(*conditions).scalar_subquery().label(name)


SOONEST_OF_CODE = [
    _least_of_code(
        "soonest_start_of_code",
        _first_of(_code.start_within_s, _code.finish_within_s),
        _code.start_within_s.is_not(None),
    ),
    _least_of_code(
        "soonest_end_of_code",
        _code.finish_within_s,
        _code.start_within_s.is_(None),
        _code.finish_within_s.is_not(None),
    ),
]
"""The least that the code of any job says of `soonest`: where a start is promised, and where only an end is.

Apart, since an index over both leads to either.
"""


class Objectives:
    """Reads the jobs that have an objective."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def signs(self) -> dict[str, Sign]:
        """By job, what differs after any change that could move a deadline, but for those of its runs."""
        stamps = (_row.version, _row.updated_at, _state.updated_at, _code.updated_at)
        statement = select(_row.job_id, *stamps).select_from(_JOINED).where(HAS_OBJECTIVE)
        async with self._database.statements() as connection:
            return {row[0]: tuple(row[1:]) for row in await connection.execute(statement)}

    async def failures(self) -> dict[str, int]:
        """How many runs in a row have failed, of each job that fails, whether it has an objective or not."""
        statement = (
            select(_row.job_id, _state.consecutive_failures)
            .select_from(scheduled_job.join(job_state, _state.job_id == _row.job_id))
            .where(_state.consecutive_failures > 0)
        )
        async with self._database.statements() as connection:
            return {row[0]: row[1] for row in await connection.execute(statement)}

    async def read(self, job_ids: Collection[str]) -> dict[str, JobObjective]:
        """Those of `job_ids` that have an objective, by job."""
        found: dict[str, JobObjective] = {}
        async with self._database.statements() as connection:
            for chunk in chunks(job_ids, size=_CHUNK):
                statement = select(*OBJECTIVE_COLUMNS).select_from(_JOINED).where(_row.job_id.in_(chunk))
                rows = await connection.execute(statement.where(HAS_OBJECTIVE))
                found |= {row.job_id: JobObjective(**row._mapping) for row in rows}
            return await _with_runs(connection, found)

    async def all(self) -> dict[str, JobObjective]:
        """Every job that has an objective, by job."""
        async with self._database.statements() as connection:
            rows = await connection.execute(
                select(*OBJECTIVE_COLUMNS).select_from(_JOINED).where(HAS_OBJECTIVE)
            )
            found = {row.job_id: JobObjective(**row._mapping) for row in rows}
            return await _with_runs(connection, found)


async def _with_runs(
    connection: AsyncConnection, jobs: Mapping[str, JobObjective]
) -> dict[str, JobObjective]:
    """`jobs` with the first due times whose runs have not started, or not ended."""
    concerned = [key for key, job in jobs.items() if job.start_within_s or job.finish_within_s]
    found = dict(jobs)
    for chunk in chunks(concerned, size=_CHUNK):
        for row in await connection.execute(_open_runs(chunk)):
            found[row.job_id] = replace(
                found[row.job_id], unstarted_since=row.unstarted, unended_since=row.unended
            )
    return found


def _open_runs(job_ids: Sequence[str]) -> Select[tuple[str, datetime | None, datetime | None]]:
    """The first due times of open runs by job: a read of the runs that are queued or in progress."""
    run = job_run.c
    untried = and_(run.state == RunState.QUEUED.value, run.attempt == 1)
    first = func.min(case((untried, run.scheduled_time)), type_=INSTANT).label("unstarted")
    return (
        select(run.job_id, first, func.min(run.scheduled_time, type_=INSTANT).label("unended"))
        .where(
            run.state.in_([RunState.QUEUED.value, RunState.RUNNING.value]),
            run.trigger_type != TriggerType.BACKFILL.value,
            run.job_id.in_(job_ids),
        )
        .group_by(run.job_id)
    )
