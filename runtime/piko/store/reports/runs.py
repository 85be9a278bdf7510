"""Runs for people, a page at a time.

Whatever is asked for, the server reads an index in the order of the list and stops at the end of the page:
`(scheduled_time, run_id)` for all runs, `(state, scheduled_time)` for those in some states, and the indexes
that begin with the job or the backfill for theirs.
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
from piko.store.schema.tables.runs import job_run

_COUNTED = 1000

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


class RunList:
    """Reads lists of runs."""

    def __init__(self, *, database: Database) -> None:
        self._database = database

    async def page(self, wanted: RunFilter, *, after: RunKey | None, limit: int) -> list[RunReport]:
        """At most `limit` runs that pass `wanted`, the newest due time first, after the key `after`."""
        conditions = _conditions(wanted, after)
        by_owner = wanted.job_id is not None or wanted.backfill_id is not None
        if by_owner or not wanted.states:
            if wanted.states:
                conditions.append(job_run.c.state.in_(sorted(wanted.states)))
            statement = _newest(conditions, limit)
        else:
            # One walk through the index for each state: together they would be sorted as a whole.
            walks = [
                _newest([*conditions, job_run.c.state == state], limit).subquery()
                for state in sorted(set(wanted.states))
            ]
            together = union_all(*(select(walk) for walk in walks)).subquery()
            statement = (
                select(together)
                .order_by(together.c.scheduled_time.desc(), together.c.run_id.desc())
                .limit(limit)
            )
        async with self._database.statements() as connection:
            return [RunReport(**row._mapping) for row in await connection.execute(statement)]

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


def counters(since: datetime) -> list[Label[Any]]:
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


def _newest(conditions: Sequence[ColumnElement[bool]], limit: int) -> Select[Any]:
    return (
        select(*RUN_COLUMNS_SHOWN)
        .where(*conditions)
        .order_by(job_run.c.scheduled_time.desc(), job_run.c.run_id.desc())
        .limit(limit)
    )


def _conditions(wanted: RunFilter, after: RunKey | None) -> list[ColumnElement[bool]]:
    columns = job_run.c
    found: list[ColumnElement[bool]] = []
    if wanted.job_id is not None:
        found.append(columns.job_id == wanted.job_id)
    if wanted.backfill_id is not None:
        found.append(columns.backfill_id == wanted.backfill_id)
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
