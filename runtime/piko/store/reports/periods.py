"""What ran in a period, by job: how often, with which outcome, and how long it took.

It reads the index over due times within the period, so its cost grows with the period, not with the history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select

from piko.core.types import FAILED_STATES, RunState
from piko.store.engine import Database
from piko.store.schema.tables.runs import job_run

_MOST = 1000
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


@dataclass(slots=True)
class _Sums:
    """Counts by state, and the time in handlers."""

    counts: dict[RunState, int]
    timed: int = 0
    seconds: float = 0.0
    longest_s: float = 0.0

    def add(self, state: RunState, count: int, timed: int, seconds: float, longest_s: float) -> None:
        """One group of runs in `state`: how many, of how many the time is known, and that time."""
        self.counts[state] = self.counts.get(state, 0) + count
        self.timed += timed
        self.seconds += seconds
        self.longest_s = max(self.longest_s, longest_s)

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
    conditions: list[ColumnElement[bool]] = [
        columns.scheduled_time >= since,
        columns.scheduled_time < until,
    ]
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
    jobs: dict[str, _Sums] = {}
    total = _Sums({})
    async with database.statements() as connection:
        for row in await connection.execute(statement):
            group = RunState(row.state), int(row.number), row.timed, row.seconds, row.longest_s
            total.add(*group)
            jobs.setdefault(row.job_id, _Sums({})).add(*group)
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
