"""What ran in a period, by job: how often, with which outcome, and how long it took.

It reads the index over due times within the period, so its cost grows with the period, not with the history.
A web server counts the runs of a page at a time, and who reads all pages adds them up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

from piko.core.types import FAILED_STATES, RunState
from piko.store.engine import Database
from piko.store.reports.runs import RunFilter, RunKey, owner_of, passes, walk
from piko.store.schema.tables.runs import job_run

COUNTED = 1000
"""Runs that a page counts at most."""
_MOST = 1000
_COUNTED_BY = ("scheduled_time", "run_id", "job_id", "state", "missed_count", "duration_s")
_LEFT_OUT = (RunState.MISSED, RunState.SKIPPED)
_UNDER_WAY = (RunState.QUEUED, RunState.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPeriod:
    """The runs of a job; each attempt counts. `left_out` counts due times that were missed or skipped.

    `mean_s` and `longest_s` are seconds in the handler; None if none ended.
    """

    job_id: str
    runs: int
    succeeded: int
    failed: int
    cancelled: int
    left_out: int
    under_way: int
    mean_s: float | None
    longest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodReport:
    """The period, its jobs, those that failed most first, all together, and how many are not shown."""

    since: datetime
    until: datetime
    jobs: Sequence[JobPeriod]
    total: JobPeriod
    more: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSum:
    """The runs of a job in one state: how many, of how many the time in the handler is known, and that time.

    `number` counts each due time of a record of several that were missed. `seconds` is the sum of those
    times, `longest_s` the longest of them.
    """

    job_id: str
    state: RunState
    number: int
    timed: int
    seconds: float
    longest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SumPage:
    """Some runs of a period, added up, and the key that others follow; None: no others."""

    sums: Sequence[RunSum]
    next: RunKey | None


@dataclass(slots=True)
class _Sums:
    """Counts by state, and the time in handlers."""

    counts: dict[RunState, int]
    timed: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0

    def add(self, group: RunSum) -> None:
        self.counts[group.state] = self.counts.get(group.state, 0) + group.number
        self.timed += group.timed
        self.seconds += group.seconds
        self.longest_s = max(self.longest_s, group.longest_s)

    def of(self, job_id: str) -> JobPeriod:
        def counted(*states: RunState) -> int:
            return sum(self.counts.get(state, 0) for state in states)

        succeeded, failed = counted(RunState.SUCCESS), counted(*FAILED_STATES)
        cancelled, under_way = counted(RunState.CANCELLED), counted(*_UNDER_WAY)
        return JobPeriod(
            job_id=job_id,
            runs=succeeded + failed + cancelled + under_way,
            succeeded=succeeded,
            failed=failed,
            cancelled=cancelled,
            left_out=counted(*_LEFT_OUT),
            under_way=under_way,
            mean_s=self.seconds / self.timed if self.timed else None,
            longest_s=self.longest_s if self.timed else None,
        )


async def read_period(
    database: Database, *, since: datetime, until: datetime, job_id: str | None = None
) -> PeriodReport:
    """What was due from `since` until before `until`. Raises `DatabaseUnavailableError`."""
    columns = job_run.c
    conditions = [columns.scheduled_time >= since, columns.scheduled_time < until]
    if job_id is not None:
        conditions.append(columns.job_id == job_id)
    statement = (
        select(
            columns.job_id,
            columns.state,
            func.sum(func.coalesce(columns.missed_count, 1)).label("number"),
            func.count(columns.duration_s).label("timed"),
            func.coalesce(func.sum(columns.duration_s), 0.0).label("seconds"),
            func.coalesce(func.max(columns.duration_s), 0.0).label("longest_s"),
        )
        .where(*conditions)
        .group_by(columns.job_id, columns.state)
    )
    async with database.statements() as connection:
        found = [
            RunSum(
                job_id=row.job_id,
                state=RunState(row.state),
                number=int(row.number),
                timed=row.timed,
                seconds=row.seconds,
                longest_s=row.longest_s,
            )
            for row in await connection.execute(statement)
        ]
    return period_of(found, since=since, until=until)


async def sum_page(database: Database, wanted: RunFilter, *, after: RunKey | None, limit: int) -> SumPage:
    """At most `limit` of the runs that pass `wanted`, the newest first, after the key `after`, added up.

    They are added up here: what a server plans for a part of the runs may be to read all of them.

    Raises `DatabaseUnavailableError`.
    """
    columns = [job_run.c[name] for name in _COUNTED_BY]
    statement = walk(columns, passes(wanted, after), owner_of(wanted), limit)
    async with database.statements() as connection:
        rows = (await connection.execute(statement)).all()
    groups: dict[tuple[str, RunState], list[Any]] = {}
    for row in rows:
        groups.setdefault((row.job_id, RunState(row.state)), []).append(row)
    sums = [_sum_of(job_id, state, group) for (job_id, state), group in groups.items()]
    more = len(rows) == limit
    return SumPage(sums=sums, next=(rows[-1].scheduled_time, rows[-1].run_id) if more else None)


def period_of(found: Iterable[RunSum], *, since: datetime, until: datetime) -> PeriodReport:
    """The report on all runs of a period, from their sums."""
    jobs: dict[str, _Sums] = {}
    total = _Sums({})
    for group in found:
        total.add(group)
        jobs.setdefault(group.job_id, _Sums({})).add(group)
    lines = sorted(
        (sums.of(name) for name, sums in jobs.items()), key=lambda line: (-line.failed, line.job_id)
    )
    return PeriodReport(
        since=since,
        until=until,
        jobs=lines[:_MOST],
        total=total.of("all"),
        more=max(len(lines) - _MOST, 0),
    )


def _sum_of(job_id: str, state: RunState, runs: Sequence[Any]) -> RunSum:
    timed = [run.duration_s for run in runs if run.duration_s is not None]
    return RunSum(
        job_id=job_id,
        state=state,
        number=sum(1 if run.missed_count is None else run.missed_count for run in runs),
        timed=len(timed),
        seconds=sum(timed, 0.0),
        longest_s=max(timed, default=0.0),
    )
