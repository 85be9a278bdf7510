"""What needs a person: the facts of the whole installation in a few bounded reads.

What they cost follows from how many jobs, runs and replicas need somebody, and neither from the history nor
from the jobs that are well; see `jobs_in_need` for the exceptions. What the facts mean, and what cures each
trouble, says `troubles`, once for `piko status`, the API and the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from piko.model.objectives import JobObjective
from piko.store.engine import Database
from piko.store.reports import jobs, runs
from piko.store.reports.jobs import JobCounts
from piko.store.reports.jobs_in_need import MOST, JobInNeed, jobs_in_need
from piko.store.reports.objectives import SOONEST_OF_CODE, SOONEST_OF_ROWS
from piko.store.reports.overview import JobReport
from piko.store.reports.replicas import LeaseReport, ReplicaList, ReplicaReport, ServerReport
from piko.store.reports.runs import RunCounts
from piko.store.reports.runs_in_need import RunName, runs_in_need

_LATELY = timedelta(days=1)
_HEARD = timedelta(hours=1)


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
    needs: Sequence[JobInNeed]
    """What needs a person for certain, first; then what may."""
    overdue: Sequence[JobObjective] = ()
    """Objectives with an open run that has not started, or not ended, as soon as is promised."""
    left: Mapping[str, Sequence[RunName]] = field(default_factory=dict)
    """By silent replica: runs that were in progress there when it fell silent; at most three each."""
    coming: Sequence[JobReport] = ()
    """What is due next, if that was asked for and no job needs anyone for certain."""


async def read_facts(
    database: Database, *, at: datetime | None = None, most: int = MOST, coming: int = 0
) -> Facts:
    """The facts `at` an instant, by default now by the database's clock; at most five statements.

    - `most`: how many of the jobs to read that need a person for certain, if so many do.
    - `coming`: of how many jobs to read when they are due next, if no job needs anyone.

    Raises `DatabaseUnavailableError` and `SchemaVersionError`.
    """
    replicas = ReplicaList(database=database)
    leaders, server = await replicas.leaders()
    now = at or server.now
    counted, ran, soonest_s = await _counts(database, now)
    overdue = _before(now, soonest_s)
    heard = await replicas.replicas(since=server.now - _HEARD)
    broken, left = await runs_in_need(database, now, replicas=heard, overdue=overdue)
    calm = not (counted.late or counted.failing or counted.invalid or counted.waiting or counted.unregistered)
    needs, later = await jobs_in_need(
        database,
        now,
        most=most,
        overdue=overdue,
        possible=max(counted.late, counted.failing) < most,
        coming=coming if calm else 0,
    )
    return Facts(
        now=now,
        server=server,
        leaders=leaders,
        replicas=heard,
        jobs=counted,
        runs=ran,
        needs=needs,
        coming=later,
        overdue=broken,
        left=left,
    )


async def _counts(database: Database, now: datetime) -> tuple[JobCounts, RunCounts, float | None]:
    """The counters; and the least that any job promises of starts and ends, in seconds."""
    of_runs = runs.counters(now - _LATELY)
    statement = jobs.counters(now, *of_runs, *SOONEST_OF_CODE, of_rows=[SOONEST_OF_ROWS])
    async with database.statements() as connection:
        numbers = dict((await connection.execute(statement)).one()._mapping)
    promised = [numbers.pop(column.name) for column in (SOONEST_OF_ROWS, *SOONEST_OF_CODE)]
    ran = {column.name: int(numbers.pop(column.name)) for column in of_runs}
    counted = JobCounts(**{name: int(value) for name, value in numbers.items()})
    return counted, RunCounts(**ran), min((each for each in promised if each is not None), default=None)


def _before(now: datetime, seconds: float | None) -> datetime | None:
    """`now`, whole `seconds` ago; None: there is no such instant."""
    first = datetime.min.replace(tzinfo=now.tzinfo)
    if seconds is None or seconds >= (now - first).total_seconds():
        return None
    return now - timedelta(seconds=int(seconds))
