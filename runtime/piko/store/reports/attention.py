"""What needs a person: the facts of the whole installation in a few bounded reads.

What they cost follows from how many jobs, runs and replicas need somebody, and neither from the history nor
from the jobs that are well, which are only counted; see `jobs_in_need` for the exceptions. What the facts
mean, and what cures each trouble, says `troubles`, once for `piko status`, the API and the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Select, bindparam, func, select

from piko.store.engine import Database
from piko.store.reports import jobs, runs
from piko.store.reports.job_troubles import of_job
from piko.store.reports.jobs import JobCounts
from piko.store.reports.jobs_in_need import MOST, NeedKey, NeedSearch, jobs_in_need
from piko.store.reports.objectives import SOONEST_OF_CODE, SOONEST_OF_ROWS
from piko.store.reports.overview import JobReport
from piko.store.reports.replicas import LeaseReport, ReplicaList, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.store.reports.runs_in_need import RunName, runs_in_need
from piko.store.reports.trouble import Trouble
from piko.store.schema.column_types import INSTANT
from piko.store.schema.tables.data_deadlines import data_deadline

_LATELY = timedelta(days=1)
HEARD = timedelta(hours=1)
"""For how long a replica is looked at after its last heartbeat."""
_DEADLINES = select(func.count()).select_from(data_deadline).scalar_subquery().label("deadlines")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the database says of the whole installation. `now` is by its clock."""

    now: datetime
    server: ServerReport
    leaders: Sequence[LeaseReport]
    replicas: Sequence[ReplicaReport]
    """Those that were heard of within an hour: what was killed before is history."""
    jobs: JobCounts
    runs: RunCounts
    of_jobs: Sequence[Trouble]
    """Every trouble of one page of the jobs that need a person: first those of which their rows say so."""
    first: bool = True
    """Whether it is the first page, which also says what concerns more than one job."""
    next: NeedKey | None = None
    """The place that others may come after; None: there are no others."""
    left: Mapping[str, Sequence[RunName]] = field(default_factory=dict)
    """By silent replica: runs that were in progress there when it fell silent; at most three each."""
    coming: Sequence[JobReport] = ()
    """What is due next, if that was asked for and no job needs anyone for certain."""


async def read_facts(
    database: Database,
    *,
    timezone: str,
    at: datetime | None = None,
    most: int = MOST,
    after: NeedKey | None = None,
    coming: int = 0,
) -> Facts:
    """The facts `at` an instant, by default now by the database's clock; at most five statements.

    - `timezone`: of schedules that name none.
    - `most`: how many of the jobs to read that need a person.
    - `after`: `Facts.next` of the page before; None: the first page.
    - `coming`: of how many jobs to read when they are due next, if no job needs anyone.

    Raises `DatabaseUnavailableError` and `SchemaVersionError`.
    """
    replicas = ReplicaList(database=database)
    leaders, server = await replicas.leaders()
    now = at or server.now
    counted, ran, soonest_s, deadlines = await _counts(database, now)
    overdue = _before(now, soonest_s)
    heard = await replicas.replicas(since=server.now - HEARD)
    broken, left = await runs_in_need(database, now, replicas=heard, overdue=overdue)
    calm = not (counted.late or counted.failing or counted.invalid or counted.waiting or counted.unregistered)
    certain = max(counted.late, counted.failing)
    search = NeedSearch(
        most=most,
        after=after,
        overdue=overdue,
        open_runs=broken,
        possible=after is not None or certain <= most,
        coming=coming if calm else 0,
        foreseen=deadlines == counted.jobs and any(lease.leads for lease in leaders),
    )
    found = await jobs_in_need(database, now, search, judge=lambda need: of_job(need, now, timezone))
    return Facts(
        now=now,
        server=server,
        leaders=leaders,
        replicas=heard,
        jobs=counted,
        runs=ran,
        of_jobs=found.troubles,
        first=after is None,
        next=found.next,
        left=left,
        coming=found.coming,
    )


async def read_all_facts(database: Database, *, timezone: str) -> Facts:
    """The facts with what all pages say of jobs; `timezone` is that of schedules that name none."""
    facts = await read_facts(database, timezone=timezone)
    of_jobs, following = list(facts.of_jobs), facts.next
    while following is not None:
        page = await read_facts(database, timezone=timezone, at=facts.now, after=following)
        of_jobs, following = [*of_jobs, *page.of_jobs], page.next
    return replace(facts, of_jobs=of_jobs, next=None)


async def _counts(database: Database, now: datetime) -> tuple[JobCounts, RunCounts, float | None, int]:
    """The counters; the least that any job promises of starts and ends, in seconds; and of how many jobs it
    is foreseen from when on their data is late."""
    values = {"late": jobs.late_before(now), "lately": now - _LATELY}
    async with database.statements() as connection:
        numbers = dict((await connection.execute(_counters(), values)).one()._mapping)
    promised = [numbers.pop(column.name) for column in (SOONEST_OF_ROWS, *SOONEST_OF_CODE)]
    ran = RunCounts(**{item.name: int(numbers.pop(item.name)) for item in fields(RunCounts)})
    deadlines = int(numbers.pop(_DEADLINES.name))
    counted = JobCounts(**{name: int(value) for name, value in numbers.items()})
    return counted, ran, min((each for each in promised if each is not None), default=None), deadlines


@cache
def _counters() -> Select[Any]:
    """The statement of all counters, made once: to put it together takes longer than to send it."""
    of_runs = runs.counters(bindparam("lately", type_=INSTANT))
    late = bindparam("late", type_=INSTANT)
    return jobs.counters(late, *of_runs, *SOONEST_OF_CODE, _DEADLINES, of_rows=[SOONEST_OF_ROWS])


def _before(now: datetime, seconds: float | None) -> datetime | None:
    """`now`, whole `seconds` ago; None: there is no such instant."""
    first = datetime.min.replace(tzinfo=now.tzinfo)
    if seconds is None or seconds >= (now - first).total_seconds():
        return None
    return now - timedelta(seconds=int(seconds))
