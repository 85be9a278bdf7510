"""Jobs that need a person, for certain or perhaps, found without reading those that are well.

Nearly every job is well nearly always, so a table is not searched for the others: each trouble has an index
that leads to the jobs which have it, and in which a run that goes well moves nothing (but for when it is due
next). The exceptions are jobs that have promised data, and stateful ones: theirs is compared with what was
claimed, row by row. Ids are found and sorted first, and only the rows of the first are read as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    Row,
    Select,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)

from piko.core.types import JobStatus
from piko.model.objectives import JobObjective
from piko.store.engine import Database
from piko.store.reports.jobs import is_failing, late_before, waits_since
from piko.store.reports.objectives import (
    PROMISED,
    may_lack_a_start_or_an_end,
    may_lack_data,
    promise_of,
)
from piko.store.reports.overview import JOB_COLUMNS, JOBS_JOINED, JobReport
from piko.store.run_notes import REFUSED
from piko.store.schema.column_types import INSTANT, MYSQL_FAMILY
from piko.store.schema.tables.operators import orphaned_row
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

MOST = 500
"""Jobs that are read when more than these need somebody."""
LOOKED = 2000
"""Jobs that are looked at for each certain trouble to find those with the oldest data; the late ones that
were due first, and of those that fail the ones that did so most often."""

UNABLE = (JobStatus.INVALID, JobStatus.UNREGISTERED, JobStatus.WAITING_FOR_CONFIG)
"""A job of such a status does not run until somebody repairs it."""

_CERTAIN, _POSSIBLE, _COMING = range(3)


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
    """Its objective, without its open runs, which `runs_in_need` reads."""


async def jobs_in_need(
    database: Database, now: datetime, *, most: int, overdue: datetime | None, possible: bool, coming: int
) -> tuple[list[JobInNeed], list[JobReport]]:
    """The jobs that need a person for certain, then those that may, each with the oldest data first; and
    the `coming` that are due next. One statement.

    - `most`: of those that need a person for certain.
    - `overdue`: no later due time can have broken the promise of a start or an end; None: none can have.
    - `possible`: whether to look for those that may need a person, too.
    """
    statement = statement_of(most=most, overdue=overdue is not None, possible=possible, coming=coming)
    values = {"now": now, "late": late_before(now), "overdue": overdue}
    async with database.statements() as connection:
        rows = sorted((await connection.execute(statement, values)).all(), key=_order)
    return (
        [_need(row) for row in rows if row.place != _COMING],
        [_job(row) for row in rows if row.place == _COMING],
    )


@cache
def statement_of(
    *, most: int, overdue: bool, possible: bool, coming: int
) -> Select[Any] | CompoundSelect[Any]:
    """The statement, made once for each kind: to put it together takes longer than to read what it finds."""
    asked = [_first(_in_need(most, overdue=overdue, possible=possible))]
    if coming:
        asked.append(_first(_due_next(coming)))
    return asked[0] if len(asked) == 1 else union_all(*(select(one.subquery()) for one in asked))


def _in_need(most: int, *, overdue: bool, possible: bool) -> Select[Any]:
    """The ids, each with its `place`; a job that has several troubles is found by each of them."""
    found = [(_CERTAIN, ids.subquery()) for ids in _certain()]
    if possible:
        found += [(_POSSIBLE, ids.subquery()) for ids in _possible(overdue=overdue)]
    together = union_all(
        *(select(ids.c.job_id, literal(place).label("place"), ids.c.reached) for place, ids in found)
    ).subquery()
    place, reached = func.min(together.c.place), func.max(together.c.reached)
    order = [place, reached.is_not(None), reached, together.c.job_id]
    ids = select(together.c.job_id, place.label("place")).group_by(together.c.job_id)
    return ids.order_by(*order).limit(MOST if possible else most)


def _certain() -> list[Select[Any]]:
    """Jobs by what their rows name for certain, of each trouble the first in the order of its index."""
    state, enabled = job_state.c, scheduled_job.c.enabled.is_(True)
    refused = state.last_error.startswith(REFUSED, autoescape=True)
    of_states: list[tuple[ColumnElement[bool], list[ColumnElement[Any]]]] = [
        (waits_since(_LATE), [state.status, state.next_run_at, state.job_id]),
        (is_failing(), [state.consecutive_failures.desc(), state.last_state.desc(), state.job_id.desc()]),
        (and_(enabled, state.status.in_(sorted(UNABLE))), [state.status, state.job_id]),
        (state.given_up_to.is_not(None), [state.given_up_to, state.job_id]),
        (refused, []),  # the index has the beginning alone, which is the same of all
    ]
    orphan = orphaned_row.c
    owned = orphaned_row.join(scheduled_job, scheduled_job.c.job_id == orphan.job_id)
    missing = _found(owned.outerjoin(job_state, _OF_STATE), orphan.table_name == scheduled_job.name)
    return [
        *(_found(_STATES_FIRST, trouble).order_by(*order).limit(LOOKED) for trouble, order in of_states),
        missing.order_by(orphan.job_id).limit(LOOKED),
    ]


def _possible(*, overdue: bool) -> list[Select[Any]]:
    """Jobs by what their schedule may say: of the watermark, of promised data, and of a start or an end that
    is still to come."""
    row, code = scheduled_job.c, job_definition.c
    code_first = job_definition.join(scheduled_job, _OF_CODE)
    data = may_lack_data(_NOW)
    found = [
        _found(code_first.join(job_state, _OF_STATE), _may_be_behind()),
        _found(JOBS_JOINED, and_(row.data_within_s.is_not(None), data)),
        _found(
            code_first.outerjoin(job_state, _OF_STATE),
            and_(code.data_within_s.is_not(None), row.data_within_s.is_(None), data),
        ),
    ]
    if overdue:
        unclaimed = and_(waits_since(_OVERDUE), may_lack_a_start_or_an_end(_NOW))
        found.append(_found(_STATES_FIRST.outerjoin(job_definition, _OF_CODE), unclaimed))
    order = [_REACHED.is_not(None), _REACHED, row.job_id]
    return [ids.order_by(*order).limit(MOST) for ids in found]


def _found(where: FromClause, trouble: ColumnElement[bool]) -> Select[Any]:
    """Ids with how far each job has come, read from the first table on: it has the index."""
    ids = select(scheduled_job.c.job_id, _REACHED.label("reached")).select_from(where).where(trouble)
    for dialect in MYSQL_FAMILY:
        ids = ids.prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return ids


def _may_be_behind() -> ColumnElement[bool]:
    """Stateful jobs whose watermark has fallen behind what is claimed; what is not claimed is late itself."""
    reached, claimed = scheduled_job.c.last_data_time, job_state.c.cursor_at
    return and_(
        job_definition.c.stateful == true(),  # an index leads to what equals, and not to what IS TRUE
        scheduled_job.c.enabled.is_(True),
        reached < _LATE,
        job_state.c.status == JobStatus.SCHEDULED,
        or_(claimed.is_(None), reached < claimed),
    )


def _due_next(most: int) -> Select[Any]:
    state = job_state.c
    return (
        select(scheduled_job.c.job_id, literal(_COMING).label("place"))
        .select_from(_STATES_FIRST)
        .where(scheduled_job.c.enabled.is_(True), state.status == JobStatus.SCHEDULED)
        .where(state.next_run_at.is_not(None))
        .order_by(state.status, state.next_run_at, state.job_id)
        .limit(most)
    )


def _first(ids: Select[Any]) -> Select[Any]:
    """The rows of `ids`, in any order."""
    chosen, orphan = ids.subquery(), orphaned_row.c
    of_row = and_(orphan.table_name == scheduled_job.name, orphan.job_id == scheduled_job.c.job_id)
    joined = JOBS_JOINED.outerjoin(orphaned_row, of_row)
    return (
        select(*JOB_COLUMNS, chosen.c.place, _REACHED.label("reached"))
        .add_columns(job_state.c.given_up_to, job_state.c.last_run_id)
        .add_columns(orphan.managed_by.label("missing"), orphan.found_at, *PROMISED)
        .select_from(joined.join(chosen, chosen.c.job_id == scheduled_job.c.job_id))
    )


def _order(row: Row[Any]) -> tuple[Any, ...]:
    """The same order as the statement's: parts that are put together have none."""
    if row.place == _COMING:
        return row.place, False, row.next_run_at, row.job_id
    return row.place, row.reached is not None, row.reached or datetime.max.replace(tzinfo=UTC), row.job_id


def _need(row: Row[Any]) -> JobInNeed:
    return JobInNeed(
        job=_job(row),
        given_up_to=row.given_up_to,
        missing=row.missing,
        missing_since=row.found_at,
        last_run_id=row.last_run_id,
        promise=promise_of(row),
    )


def _job(row: Row[Any]) -> JobReport:
    # The first of its columns, by place: there are hundreds of rows.
    return JobReport(**dict(zip(_REPORTED, row, strict=False)))


_NOW = bindparam("now", type_=INSTANT)
_LATE = bindparam("late", type_=INSTANT)
_OVERDUE = bindparam("overdue", type_=INSTANT)
_OF_STATE = job_state.c.job_id == scheduled_job.c.job_id
_OF_CODE = job_definition.c.job_id == scheduled_job.c.job_id
_STATES_FIRST = job_state.join(scheduled_job, _OF_STATE)
_REACHED = func.coalesce(scheduled_job.c.last_data_time, job_state.c.last_success_at)
_REPORTED = tuple(JobReport.__dataclass_fields__)
