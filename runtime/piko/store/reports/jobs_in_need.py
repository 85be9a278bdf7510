"""Jobs that need a person, for certain or perhaps, found without reading those that are well.

Nearly every job is well nearly always, so a table is not searched for the others: each trouble has an index
that leads to the jobs which have it, and in which a run that goes well moves nothing (but for when it is due
next). From when on data is late, the leader foresees, see `piko.store.data_deadlines`. Where none leads, or
it has not written that down of all jobs yet, those that have promised data, and stateful ones, are looked at
row by row. `need_statement` has the statement.

They have one order, and a list of them is cut by the place in it at which a page ends. What a schedule says
of a job, no statement can: so more rows are read than a page holds, one by one until it is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from piko.model.objectives import JobObjective
from piko.store.engine import Database
from piko.store.reports.jobs import late_before
from piko.store.reports.need_statement import CERTAIN, COMING, POSSIBLE, statement_of
from piko.store.reports.objectives import promise_of
from piko.store.reports.overview import JobReport
from piko.store.reports.runs_in_need import OverdueRuns
from piko.store.reports.trouble import Trouble

MOST = 500
"""Jobs that one page looks at, if more than these may need somebody."""
_NEARLY_ALL = 1.25
"""As many times as many jobs as a page holds are looked at where it is foreseen which may be late."""


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
    """Its objective, with the open runs that break it."""


PLACES = (CERTAIN, POSSIBLE)
NeedKey = tuple[int, datetime | None, str]
"""Where a job stands among those in need: certain ones first, then how far its data is done, then its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedSearch:
    """Which jobs in need to look for.

    - `most`: how many.
    - `after`: only those that come after this place; None: the first.
    - `overdue`: no later due time can have broken the promise of a start or an end; None: none can have.
    - `open_runs`: by job, the first due times of open runs that break a promise.
    - `possible`: whether to look for those that may need a person, too; False: more than `most` do for
      certain.
    - `coming`: how many of the jobs to read that are due next.
    - `foreseen`: whether what the leader foresees of late data stands for all jobs.
    """

    most: int
    after: NeedKey | None = None
    overdue: datetime | None = None
    open_runs: Mapping[str, OverdueRuns]
    possible: bool = True
    coming: int = 0
    foreseen: bool = False

    @property
    def looked(self) -> int:
        """How many jobs to look at."""
        if not self.possible:
            return self.most + 1
        return min(int(self.most * _NEARLY_ALL) + 1, MOST + 1) if self.foreseen else MOST


@dataclass(frozen=True, slots=True, kw_only=True)
class NeedPage:
    """Troubles of some jobs; `next` is the place that others may come after, None: there are no others."""

    troubles: Sequence[Trouble]
    next: NeedKey | None
    coming: Sequence[JobReport]


Judge = Callable[[JobInNeed], Sequence[Trouble]]
"""Says what the troubles of a job are."""


async def jobs_in_need(database: Database, now: datetime, search: NeedSearch, *, judge: Judge) -> NeedPage:
    """Troubles of jobs that need a person for certain, then of those that may. One statement.

    Of either the oldest data comes first. `judge` says what the troubles of each are: there may be none. So a
    page may be short, and even empty, where `next` leads on: it looks at `MOST` jobs at most, and at few more
    than it has where it is foreseen whose data is late.
    """
    statement = statement_of(
        after=None if search.after is None else (search.after[0], search.after[1] is None),
        overdue=search.overdue is not None,
        broken=bool(search.open_runs),
        possible=search.possible,
        coming=search.coming > 0,
        foreseen=search.foreseen,
    )
    values = _values(now, search)
    async with database.statements() as connection:
        rows = await connection.execute(statement, values)
        return _page_of(rows, search, judge)


def _page_of(rows: Iterable[Row[Any]], search: NeedSearch, judge: Judge) -> NeedPage:
    """What `rows` say, none of which is turned into values before it is its turn."""
    troubles: list[Trouble] = []
    coming: list[JobReport] = []
    last: NeedKey | None = None
    jobs = seen = 0
    for row in rows:
        if row.place == COMING:
            coming.append(_job(row))
            continue
        if jobs == search.most:
            return NeedPage(troubles=troubles, next=last, coming=())
        seen, last = seen + 1, (row.place, row.reached, row.job_id)
        found = judge(_need(row, search.open_runs))
        jobs += bool(found)
        troubles += found
    return NeedPage(troubles=troubles, next=last if seen == search.looked else None, coming=coming)


def _values(now: datetime, search: NeedSearch) -> dict[str, Any]:
    _, reached, job_id = search.after or (None, None, None)
    return {
        "most": search.looked,
        "coming": search.coming,
        "now": now,
        "late": late_before(now),
        "overdue": search.overdue,
        "after": reached,
        "after_id": job_id,
        "broken": sorted(search.open_runs),
    }


def _need(row: Row[Any], open_runs: Mapping[str, OverdueRuns]) -> JobInNeed:
    job, promise, found = _job(row), promise_of(row), open_runs.get(row.job_id)
    if promise is not None and found is not None:
        promise = replace(promise, unstarted_since=found.unstarted_since, unended_since=found.unended_since)
    return JobInNeed(
        job=job,
        given_up_to=row.given_up_to,
        missing=row.missing,
        missing_since=row.found_at,
        last_run_id=row.last_run_id,
        promise=promise,
    )


def _job(row: Row[Any]) -> JobReport:
    # The first of its columns, by place: there are hundreds of rows.
    return JobReport(**dict(zip(_REPORTED, row, strict=False)))


_REPORTED = tuple(JobReport.__dataclass_fields__)
