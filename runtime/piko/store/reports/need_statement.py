"""The statement that finds jobs in need: each by the index of its trouble.

Each trouble finds ids, which are put together, sorted and cut; the rows of those that are left are read as a
whole, for their texts would be most of what a sort moves. The server has to read the tables in the order in
which they are named here, since its guesses of how many rows a trouble has differ from one look at its
statistics to the next.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    Integer,
    Select,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
    type_coerce,
    union_all,
)

from piko.core.types import JobStatus
from piko.store.reports.jobs import is_failing, waits_since
from piko.store.reports.objectives import PROMISED, may_lack_a_start_or_an_end, may_lack_data
from piko.store.reports.overview import JOB_COLUMNS, JOBS_JOINED
from piko.store.run_notes import REFUSED
from piko.store.schema.column_types import INSTANT, JOB_ID, MYSQL_FAMILY
from piko.store.schema.tables.data_deadlines import data_deadline
from piko.store.schema.tables.operators import orphaned_row
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

LOOKED = 1000
"""Jobs that are found by each trouble, to begin with those that have the oldest data: the late ones that were
due first, and of those that fail the ones that did so most often."""
COMPARED = 1000
"""The same for troubles that rows alone do not name."""

UNABLE = (JobStatus.INVALID, JobStatus.UNREGISTERED, JobStatus.WAITING_FOR_CONFIG)
"""A job of such a status does not run until somebody repairs it."""

CERTAIN, POSSIBLE, COMING = range(3)
"""Where a row stands: its job needs a person, or its schedule says whether it does; or it is due next."""


@cache
def statement_of(
    *,
    after: tuple[int, bool] | None,
    overdue: bool,
    broken: bool,
    possible: bool,
    coming: bool,
    foreseen: bool = False,
) -> Select[Any]:
    """The statement, made once for each kind: to put it together takes longer than to read what it finds.

    - `after`: what the place begins with that jobs have to come after, and whether it has no instant.
    - `overdue`: whether a due time to come may break a promise; `broken`: whether open runs do.
    - `possible`: whether to look for jobs that may need a person, too; `coming`: for those that are due next.
    - `foreseen`: whether `data_deadline` says from when on the data of each job is late. Else it is searched.

    Its parameters: `now`, `late` (what was due before is late), `overdue`, `broken` (ids), `most` and
    `coming` (how many to read), `after` and `after_id` (the rest of the place).
    """
    asked = [_in_need(after=after, overdue=overdue, broken=broken, possible=possible, foreseen=foreseen)]
    if coming:
        asked.append(_due_next())
    return _rows_of(asked[0] if len(asked) == 1 else union_all(*(select(one.subquery()) for one in asked)))


def _in_need(
    *, after: tuple[int, bool] | None, overdue: bool, broken: bool, possible: bool, foreseen: bool
) -> Select[Any]:
    """The ids, each with its `place`; a job that has several troubles is found by each of them."""
    found = [(CERTAIN, ids.subquery()) for ids in _certain(broken=broken)]
    if possible:
        maybe = _possible(after, overdue=overdue, foreseen=foreseen)
        found += [(POSSIBLE, ids.subquery()) for ids in maybe]
    together = union_all(
        *(select(ids.c.job_id, literal(place).label("place"), ids.c.reached) for place, ids in found)
    ).subquery()
    place = func.min(together.c.place)
    # What a job that needs a person for certain is in the order of the others does not count.
    of_certain = func.max(case((together.c.place == CERTAIN, together.c.reached)))
    reached = case((place == CERTAIN, of_certain), else_=func.max(together.c.reached))
    ids = select(together.c.job_id, place.label("place"), reached.label("reached")).group_by(
        together.c.job_id
    )
    if after is not None:
        ids = ids.having(
            or_(place > after[0], and_(place == after[0], _beyond(after, reached, together.c.job_id)))
        )
    return ids.order_by(place, reached.is_not(None), reached, together.c.job_id).limit(_MOST)


def _certain(*, broken: bool) -> list[Select[Any]]:
    """Jobs by what their rows name for certain, of each trouble the first in the order of its index."""
    state = job_state.c
    refused = state.last_error.startswith(REFUSED, autoescape=True)
    # No order names a column of which one value is looked for: MariaDB then sorts what the index has sorted.
    of_states: list[tuple[ColumnElement[bool], list[ColumnElement[Any]]]] = [
        (waits_since(_LATE), [state.next_run_at, state.job_id]),
        (is_failing(), [state.consecutive_failures.desc(), state.last_state.desc(), state.job_id.desc()]),
        (_is_unable(), []),
        (state.given_up_to.is_not(None), [state.given_up_to, state.job_id]),
        (refused, []),  # the index has the beginning alone, which is the same of all
    ]
    orphan = orphaned_row.c
    owned = orphaned_row.join(scheduled_job, scheduled_job.c.job_id == orphan.job_id)
    missing = _found(owned.outerjoin(job_state, _OF_STATE), orphan.table_name == scheduled_job.name)
    found = [
        *(_found(_STATES_FIRST, trouble).order_by(*order).limit(LOOKED) for trouble, order in of_states),
        missing.order_by(orphan.job_id).limit(LOOKED),
    ]
    if broken:
        named = scheduled_job.outerjoin(job_state, _OF_STATE)
        found.append(_found(named, scheduled_job.c.job_id.in_(_BROKEN)))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Search:
    """Jobs that may need a person: of which tables, by what, and where each stands in the order of all.

    `order` is that of the index, if it is the same; then no more are read than a page has.
    """

    tables: FromClause
    trouble: ColumnElement[bool]
    reached: ColumnElement[Any]
    order: Sequence[ColumnElement[Any]] = ()


def _possible(after: tuple[int, bool] | None, *, overdue: bool, foreseen: bool) -> list[Select[Any]]:
    """Jobs by what their schedule may say: of their data, and of a start or an end that is still to come.

    They are in the order of their data or, where that is foreseen, in that in which they became late.
    """
    searches = [_late_data()] if foreseen else _searched_data()
    if overdue:
        tables = _STATES_FIRST.outerjoin(job_definition, _OF_CODE)
        unclaimed = and_(waits_since(_OVERDUE), may_lack_a_start_or_an_end(_NOW))
        reached = job_state.c.next_run_at if foreseen else _REACHED
        searches.append(_Search(tables=tables, trouble=unclaimed, reached=reached))
    statements = []
    for search in searches:
        ids = _found(search.tables, search.trouble, search.reached)
        if after is not None and after[0] == POSSIBLE:
            ids = ids.where(_beyond(after, search.reached, scheduled_job.c.job_id))
        statements.append(ids.order_by(*search.order).limit(_MOST) if search.order else ids.limit(COMPARED))
    return statements


def _late_data() -> _Search:
    """Jobs whose data was to be late by now, but for those that need a person for certain."""
    late_at, state = data_deadline.c.late_at, job_state.c
    certain = or_(waits_since(_LATE), is_failing(), _is_unable())
    promised = func.coalesce(scheduled_job.c.data_within_s, job_definition.c.data_within_s).is_not(None)
    runs = and_(scheduled_job.c.enabled.is_(True), state.status == JobStatus.SCHEDULED)
    joined = data_deadline.join(scheduled_job, scheduled_job.c.job_id == data_deadline.c.job_id)
    return _Search(
        tables=joined.outerjoin(job_state, _OF_STATE).outerjoin(job_definition, _OF_CODE),
        trouble=and_(late_at <= _NOW, or_(promised, runs), func.coalesce(~certain, true())),
        reached=late_at,
        order=(late_at, data_deadline.c.job_id),
    )


def _searched_data() -> list[_Search]:
    """Jobs whose data may be late as far as that can be seen without their schedules."""
    row, code = scheduled_job.c, job_definition.c
    data = may_lack_data(_NOW)
    code_first = job_definition.join(scheduled_job, _OF_CODE)
    of_code = and_(code.data_within_s.is_not(None), row.data_within_s.is_(None), data)
    states_of_code = job_definition.join(job_state, _STATE_OF_CODE)
    searched: list[tuple[FromClause, ColumnElement[bool]]] = [
        (states_of_code.join(scheduled_job, _OF_CODE), _may_be_behind()),
        (JOBS_JOINED, and_(row.data_within_s.is_not(None), data)),
        (code_first.outerjoin(job_state, _OF_STATE), of_code),
    ]
    return [_Search(tables=tables, trouble=trouble, reached=_REACHED) for tables, trouble in searched]


def _is_unable() -> ColumnElement[bool]:
    """Whether a job does not run until somebody repairs it."""
    return and_(scheduled_job.c.enabled.is_(True), job_state.c.status.in_(sorted(UNABLE)))


def _beyond(
    after: tuple[int, bool], reached: ColumnElement[Any], job_id: ColumnElement[str]
) -> ColumnElement[bool]:
    """What comes after a place of which `after` says whether its data has no beginning."""
    if after[1]:
        return or_(reached.is_not(None), and_(reached.is_(None), job_id > _AFTER_ID))
    return or_(reached > _AFTER, and_(reached == _AFTER, job_id > _AFTER_ID))


def _found(
    where: FromClause, trouble: ColumnElement[bool], reached: ColumnElement[Any] | None = None
) -> Select[Any]:
    """Ids with `reached`, by default how far each job has come, read from the first table on: it has the
    index."""
    place = _REACHED if reached is None else reached
    ids = select(scheduled_job.c.job_id, place.label("reached")).select_from(where).where(trouble)
    return _in_this_order(ids)


def _may_be_behind() -> ColumnElement[bool]:
    """Stateful jobs whose watermark has fallen behind what is claimed; what is not claimed is late itself.

    The copy of the watermark says so of those that are well, and their rows are not read.
    """
    reached, claimed, copied = scheduled_job.c.last_data_time, job_state.c.cursor_at, job_state.c.data_through
    return and_(
        job_definition.c.stateful == true(),  # an index leads to what equals, and not to what IS TRUE
        job_state.c.status == JobStatus.SCHEDULED,
        or_(claimed.is_(None), copied.is_(None), copied < claimed),
        scheduled_job.c.enabled.is_(True),
        reached < _LATE,
        or_(claimed.is_(None), reached < claimed),
    )


def _due_next() -> Select[Any]:
    state = job_state.c
    due = state.next_run_at
    return (
        select(scheduled_job.c.job_id, literal(COMING).label("place"), due.label("reached"))
        .select_from(_STATES_FIRST)
        .where(scheduled_job.c.enabled.is_(True), state.status == JobStatus.SCHEDULED, due.is_not(None))
        .order_by(due, state.job_id)
        .limit(_MOST_COMING)
    )


def _rows_of(ids: Select[Any] | CompoundSelect[Any]) -> Select[Any]:
    """The rows of `ids`, in their order."""
    chosen, orphan = ids.subquery(), orphaned_row.c
    of_row = and_(orphan.table_name == scheduled_job.name, orphan.job_id == scheduled_job.c.job_id)
    joined = (
        chosen.join(scheduled_job, scheduled_job.c.job_id == chosen.c.job_id)
        .outerjoin(job_state, _OF_STATE)
        .outerjoin(job_definition, _OF_CODE)
        .outerjoin(orphaned_row, of_row)
    )
    reached = chosen.c.reached
    rows = (
        select(*JOB_COLUMNS, chosen.c.place, type_coerce(reached, INSTANT).label("reached"))
        .add_columns(job_state.c.given_up_to, job_state.c.last_run_id)
        .add_columns(orphan.managed_by.label("missing"), orphan.found_at, *PROMISED)
        .select_from(joined)
        .order_by(chosen.c.place, reached.is_not(None), reached, chosen.c.job_id)
    )
    return _in_this_order(rows)


def _in_this_order(statement: Select[Any]) -> Select[Any]:
    """`statement`, whose tables the server reads in the order in which they are named."""
    for dialect in MYSQL_FAMILY:
        statement = statement.prefix_with("STRAIGHT_JOIN", dialect=dialect)
    return statement


_NOW = bindparam("now", type_=INSTANT)
_LATE = bindparam("late", type_=INSTANT)
_OVERDUE = bindparam("overdue", type_=INSTANT)
_AFTER, _AFTER_ID = bindparam("after", type_=INSTANT), bindparam("after_id", type_=JOB_ID)
_BROKEN = bindparam("broken", type_=JOB_ID, expanding=True)
_OF_STATE = job_state.c.job_id == scheduled_job.c.job_id
_OF_CODE = job_definition.c.job_id == scheduled_job.c.job_id
_STATE_OF_CODE = job_state.c.job_id == job_definition.c.job_id
_STATES_FIRST = job_state.join(scheduled_job, _OF_STATE)
_REACHED = func.coalesce(scheduled_job.c.last_data_time, job_state.c.last_success_at)
_MOST, _MOST_COMING = bindparam("most", type_=Integer), bindparam("coming", type_=Integer)
