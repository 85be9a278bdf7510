"""Runs for people, a page at a time.

Whatever is asked for, the server reads an index in the order of the list and stops at the end of the page:
`(scheduled_time, run_id)` for all runs, `(state, scheduled_time)` for those in some states, and the indexes
that begin with the job or the backfill for theirs. No index has both the job and the state: it would cost
every run, and retention keeps few runs of a job. So of a job or a backfill, a page of runs in some states
looks at `LOOKED` runs at most. Where that did not fill it, it is short, and `next` leads on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Label, Select, and_, func, or_, select, union_all

from piko.core.types import RunState
from piko.store.engine import Database
from piko.store.reports.overview import RUN_COLUMNS_SHOWN, RunReport
from piko.store.schema.column_types import Moment
from piko.store.schema.tables.runs import job_run

_COUNTED = 1000
LOOKED = 5000
"""Runs of one job or backfill that one page looks at to find those in some states."""

RunKey = tuple[datetime, str]
"""Where a run stands in a list: its due time, and its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """Which runs a list has: those that pass every part that is given.

    `since` and `until` bound the due time, the second exclusive.
    """

    job_id: str | None = None
    states: tuple[str, ...] = ()
    backfill_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """Runs that have not ended, and those that did not run lately; none is counted beyond 1,000."""

    running: int
    queued: int
    missed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPage:
    """Some runs of a list, the newest due time first, and the key that others follow; None: no others."""

    runs: Sequence[RunReport]
    next: RunKey | None


class RunList:
    """Reads lists of runs."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def page(self, wanted: RunFilter, *, after: RunKey | None, limit: int) -> RunPage:
        """At most `limit` runs that pass `wanted`, after the key `after`; fewer do not mean that it ends."""
        statement, looks = _page(wanted, after, limit + 1)
        async with self._database.statements() as connection:
            found = [RunReport(**row._mapping) for row in await connection.execute(statement)]
            if len(found) > limit:
                return RunPage(runs=found[:limit], next=key_of(found[limit - 1]))
            last = None if looks is None else (await connection.execute(looks)).first()
        return RunPage(runs=found, next=None if last is None else (last.scheduled_time, last.run_id))

    async def first(self, wanted: RunFilter, *, most: int) -> list[RunReport]:
        """The newest runs that pass `wanted`, at most `most`, from as many pages as that takes."""
        page = await self.page(wanted, after=None, limit=most)
        found = list(page.runs)
        while page.next is not None and len(found) < most:
            page = await self.page(wanted, after=page.next, limit=most - len(found))
            found += page.runs
        return found

    async def one(self, run_id: str) -> RunReport | None:
        """The run of that id."""
        statement = select(*RUN_COLUMNS_SHOWN).where(job_run.c.run_id == run_id)
        async with self._database.statements() as connection:
            row = (await connection.execute(statement)).first()
        return None if row is None else RunReport(**row._mapping)

    async def counts(self, *, since: datetime) -> RunCounts:
        """Runs that have not ended, and records of due times from `since` on that were missed."""
        async with self._database.statements() as connection:
            row = (await connection.execute(select(*counters(since)))).one()
        return RunCounts(**row._mapping)


def counters(since: Moment) -> list[Label[Any]]:
    """The columns of `RunCounts`; they need no table beside them."""
    state = job_run.c.state
    counted = {
        "running": [state == RunState.RUNNING],
        "queued": [state == RunState.QUEUED],
        "missed": [state == RunState.MISSED, job_run.c.scheduled_time >= since],
    }
    return [
        select(func.count())
        .select_from(select(job_run.c.run_id).where(*conditions).limit(_COUNTED).subquery())
        .scalar_subquery()
        .label(name)
        for name, conditions in counted.items()
    ]


def key_of(run: RunReport) -> RunKey:
    """Where `run` stands in a list."""
    return run.scheduled_time, run.run_id


def _page(wanted: RunFilter, after: RunKey | None, limit: int) -> tuple[Select[Any], Select[Any] | None]:
    """What reads `limit` runs; and where a page looks at so many only, what reads the last of those."""
    conditions, states = passes(wanted, after), sorted(set(wanted.states))
    owner = owner_of(wanted)
    if owner is None and states:
        # One walk through the index for each state: together they would be sorted as a whole.
        walks = [walk(RUN_COLUMNS_SHOWN, conditions, (job_run.c.state, state), limit) for state in states]
        together = union_all(*(select(walk.subquery()) for walk in walks)).subquery()
        return select(together).order_by(*_newest_first(together.c)).limit(limit), None
    if not states:
        return walk(RUN_COLUMNS_SHOWN, conditions, owner, limit), None
    keys = [job_run.c.scheduled_time, job_run.c.run_id]
    looked = walk([*keys, job_run.c.state], conditions, owner, LOOKED).subquery()
    chosen = (
        select(looked.c.run_id)
        .where(looked.c.state.in_(states))
        .order_by(*_newest_first(looked.c))
        .limit(limit)
        .subquery()
    )
    statement = (
        select(*RUN_COLUMNS_SHOWN)
        .join_from(chosen, job_run, job_run.c.run_id == chosen.c.run_id)
        .order_by(*_newest_first(job_run.c))
    )
    return statement, walk(keys, conditions, owner, 1).offset(LOOKED - 1)


def owner_of(wanted: RunFilter) -> tuple[ColumnElement[Any], str] | None:
    """The column that begins the index of a list, and its value; None: the list is of all jobs."""
    if wanted.backfill_id is not None:
        return job_run.c.backfill_id, wanted.backfill_id
    return None if wanted.job_id is None else (job_run.c.job_id, wanted.job_id)


def walk(
    columns: Sequence[ColumnElement[Any]],
    conditions: Sequence[ColumnElement[bool]],
    begins: tuple[ColumnElement[Any], str] | None,
    limit: int,
) -> Select[Any]:
    """The newest `limit` runs by the index that begins with a column of one value, or with the due time.

    - `columns`: what is read of each; `conditions`: what it has to pass.
    - `begins`: as `owner_of` says.

    The column is bounded from both sides, and is part of the order. For `=`, MariaDB may walk the index from
    its end to the cursor instead of from the cursor on, which took seconds in the middle of a long history.
    """
    statement, order = select(*columns).where(*conditions), _newest_first(job_run.c)
    if begins is not None:
        column, value = begins
        statement = statement.where(column >= value, column <= value)
        order = [column.desc(), *order]
    return statement.order_by(*order).limit(limit)


def _newest_first(columns: Any) -> list[ColumnElement[Any]]:
    return [columns.scheduled_time.desc(), columns.run_id.desc()]


def passes(wanted: RunFilter, after: RunKey | None) -> list[ColumnElement[bool]]:
    """What a run has to pass to be in the list behind the key `after`, beside what `owner_of` says."""
    columns = job_run.c
    found: list[ColumnElement[bool]] = []
    if wanted.job_id is not None and wanted.backfill_id is not None:
        found.append(columns.job_id == wanted.job_id)  # the backfill is what begins the index
    if wanted.since is not None:
        found.append(columns.scheduled_time >= wanted.since)
    if wanted.until is not None:
        found.append(columns.scheduled_time < wanted.until)
    if after is not None:
        moment, run_id = after
        found.append(columns.scheduled_time <= moment)  # the range that the index is read in
        found.append(
            or_(
                columns.scheduled_time < moment,
                and_(columns.scheduled_time == moment, columns.run_id < run_id),
            )
        )
    return found
