"""The statement that finds jobs in need: each by the index of its trouble.

Each trouble finds ids, which are put together, sorted and cut; the rows of those that are left are read as a
whole, for their texts would be most of what a sort moves. The server has to read the tables in the order in
which they are named here, since its guesses of how many rows a trouble has differ from one look at its
statistics to the next.
"""

from __future__ import annotations

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
from piko.store.schema.tables.operators import orphaned_row
from piko.store.schema.tables.replicas import job_definition
from piko.store.schema.tables.schedules import scheduled_job
from piko.store.schema.tables.states import job_state

LOOKED = 2000
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
    *, after: tuple[int, bool] | None, overdue: bool, broken: bool, possible: bool, coming: bool
) -> Select[Any]:
    """The statement, made once for each kind: to put it together takes longer than to read what it finds.

    - `after`: what the place begins with that jobs have to come after, and whether it has no instant.
    - `overdue`: whether a due time to come may break a promise; `broken`: whether open runs do.
    - `possible`: whether to look for jobs that may need a person, too; `coming`: for those that are due next.

    Its parameters: `now`, `late` (what was due before is late), `overdue`, `broken` (ids), `most` and
    `coming` (how many to read), `after` and `after_id` (the rest of the place).
    """
    asked = [_in_need(after=after, overdue=overdue, broken=broken, possible=possible)]
    if coming:
        asked.append(_due_next())
    return _rows_of(asked[0] if len(asked) == 1 else union_all(*(select(one.subquery()) for one in asked)))


def _in_need(*, after: tuple[int, bool] | None, overdue: bool, broken: bool, possible: bool) -> Select[Any]:
    """The ids, each with its `place`; a job that has several troubles is found by each of them."""
    found = [(CERTAIN, ids.subquery()) for ids in _certain(broken=broken)]
    if possible:
        found += [(POSSIBLE, ids.subquery()) for ids in _possible(after, overdue=overdue)]
    together = union_all(
        *(select(ids.c.job_id, literal(place).label("place"), ids.c.reached) for place, ids in found)
    ).subquery()
    place, reached = func.min(together.c.place), func.max(together.c.reached)
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
    state, enabled = job_state.c, scheduled_job.c.enabled.is_(True)
    refused = state.last_error.startswith(REFUSED, autoescape=True)
    # No order names a column of which one value is looked for: MariaDB then sorts what the index has sorted.
    of_states: list[tuple[ColumnElement[bool], list[ColumnElement[Any]]]] = [
        (waits_since(_LATE), [state.next_run_at, state.job_id]),
        (is_failing(), [state.consecutive_failures.desc(), state.last_state.desc(), state.job_id.desc()]),
        (and_(enabled, state.status.in_(sorted(UNABLE))), []),
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


def _possible(after: tuple[int, bool] | None, *, overdue: bool) -> list[Select[Any]]:
    """Jobs by what their schedule may say: of the watermark, of promised data, and of a start or an end that
    is still to come."""
    row, code = scheduled_job.c, job_definition.c
    code_first = job_definition.join(scheduled_job, _OF_CODE)
    data = may_lack_data(_NOW)
    found = [
        _found(
            job_definition.join(job_state, _STATE_OF_CODE).join(scheduled_job, _OF_CODE), _may_be_behind()
        ),
        _found(JOBS_JOINED, and_(row.data_within_s.is_not(None), data)),
        _found(
            code_first.outerjoin(job_state, _OF_STATE),
            and_(code.data_within_s.is_not(None), row.data_within_s.is_(None), data),
        ),
    ]
    if overdue:
        unclaimed = and_(waits_since(_OVERDUE), may_lack_a_start_or_an_end(_NOW))
        found.append(_found(_STATES_FIRST.outerjoin(job_definition, _OF_CODE), unclaimed))
    if after is not None and after[0] == POSSIBLE:
        found = [ids.where(_beyond(after, _REACHED, row.job_id)) for ids in found]
    return [ids.limit(COMPARED) for ids in found]


def _beyond(
    after: tuple[int, bool], reached: ColumnElement[Any], job_id: ColumnElement[str]
) -> ColumnElement[bool]:
    """What comes after a place of which `after` says whether its data has no beginning."""
    if after[1]:
        return or_(reached.is_not(None), and_(reached.is_(None), job_id > _AFTER_ID))
    return or_(reached > _AFTER, and_(reached == _AFTER, job_id > _AFTER_ID))


def _found(where: FromClause, trouble: ColumnElement[bool]) -> Select[Any]:
    """Ids with how far each job has come, read from the first table on: it has the index."""
    ids = select(scheduled_job.c.job_id, _REACHED.label("reached")).select_from(where).where(trouble)
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
