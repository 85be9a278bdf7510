"""What commands read, wherever it comes from: the database, or the web service of a release.

Both answer with the same values, so a command shows the same: the service answers what it has read by the
same statements, and its JSON has the names of the values.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextvars import ContextVar
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from piko.cli.answers import dsn_in_force, instant, unknown_job, with_database, zone_in_force

if TYPE_CHECKING:
    from piko.model.backfills import Backfill
    from piko.steering.configs import ConfigRevisionShown
    from piko.steering.schedules import WatermarkChange
    from piko.store.engine import Database
    from piko.store.reports.dead_letters import DeadLetterReport, LetterFilter
    from piko.store.reports.explanations import JobExplanation
    from piko.store.reports.job_rows import JobRows
    from piko.store.reports.overview import JobReport, RunReport
    from piko.store.reports.periods import PeriodReport
    from piko.store.reports.run_logs import RunLogReport
    from piko.store.reports.runs import RunFilter
    from piko.store.reports.sinks import SinkReport
    from piko.store.reports.troubles import InstallationReport
    from piko.store.schema.status import SchemaStatus

T = TypeVar("T")


class Reads(Protocol):
    """What people look at. Raises `NotFoundError` where a job is named that there is not."""

    async def schema(self) -> SchemaStatus:
        """Which schema the database has. Raises `DatabaseUnavailableError`."""
        ...

    async def installation(self) -> InstallationReport:
        """The whole installation, with every trouble of it."""
        ...

    async def jobs(self, job_ids: Collection[str]) -> list[JobReport]:
        """These jobs, or all, by job id."""
        ...

    async def rows(self, job_ids: Collection[str]) -> list[JobRows]:
        """The rows of these jobs, or of all, by job id; a job without any is left out."""
        ...

    async def runs(self, wanted: RunFilter, *, most: int) -> list[RunReport]:
        """The newest runs that `wanted` leaves."""
        ...

    async def run(self, run_id: str) -> RunReport | None:
        """The run of that id."""
        ...

    async def attempts(self, run: RunReport) -> list[RunReport]:
        """Every run for the due time of `run`."""
        ...

    async def log(self, run_id: str) -> RunLogReport | None:
        """What the run says of itself."""
        ...

    async def zones(self, job_ids: Collection[str]) -> dict[str, str]:
        """The zone of each job's schedule; without those that have no row, or one that cannot be used."""
        ...

    async def explain(self, job_id: str, at: str | None) -> JobExplanation:
        """Why the job does not run, or did not run at an instant as a person writes it."""
        ...

    async def period(self, since: datetime, until: datetime, job_id: str | None) -> PeriodReport:
        """What was due from `since` until before `until`, of that job or of all."""
        ...

    async def watermark(self, job_id: str) -> WatermarkChange:
        """The watermark of a stateful job, and which windows run next."""
        ...

    async def config_history(self, job_id: str) -> list[ConfigRevisionShown]:
        """Every revision of the job's config, the newest first."""
        ...

    async def backfills(self, job_id: str | None, *, most: int) -> list[Backfill]:
        """The newest backfills, of that job or of all."""
        ...

    async def backfill(self, beginning: str) -> Backfill:
        """The backfill whose id begins so. Raises `NotFoundError`, and `RefusedError` if several do."""
        ...

    async def sinks(self) -> list[SinkReport]:
        """Every sink, by name."""
        ...

    async def dead_letters(self, wanted: LetterFilter) -> list[DeadLetterReport]:
        """The newest dead letters that `wanted` leaves, as many as are listed."""
        ...


web_reads: ContextVar[Reads | None] = ContextVar("web_reads", default=None)
"""Where commands read instead of the database of the settings."""


def with_reads(dsn: str | None, work: Callable[[Reads], Awaitable[T]]) -> T:
    """The result of `work`. Raises `SettingsError`, and what the source raises."""
    import asyncio

    reads = web_reads.get()
    if reads is not None:
        source = reads

        async def there() -> T:
            return await work(source)

        return asyncio.run(there())
    return with_database(dsn, lambda database: work(DatabaseReads(database=database, dsn=dsn)))


class DatabaseReads:
    """Reads the database itself: the one at `dsn`, or that of the settings."""

    def __init__(self, *, database: Database, dsn: str | None) -> None:
        self._database = database
        self._dsn = dsn

    async def schema(self) -> SchemaStatus:
        from piko.store.schema import migrate

        return await migrate.check(dsn_in_force(self._dsn))

    async def installation(self) -> InstallationReport:
        from piko.store.reports.attention import read_all_facts
        from piko.store.reports.troubles import report

        return report(await read_all_facts(self._database, timezone=zone_in_force(self._dsn)))

    async def jobs(self, job_ids: Collection[str]) -> list[JobReport]:
        from piko.store.reports.overview import Overview

        found = await Overview(database=self._database).jobs(job_ids)
        missing = set(job_ids) - {line.job_id for line in found}
        if missing:
            raise await unknown_job(self._database, min(missing))
        return found

    async def rows(self, job_ids: Collection[str]) -> list[JobRows]:
        from piko.store.reports.job_rows import RowList

        return await RowList(database=self._database).of(job_ids)

    async def runs(self, wanted: RunFilter, *, most: int) -> list[RunReport]:
        from piko.store.reports.runs import RunList

        found = await RunList(database=self._database).first(wanted, most=most)
        if not found and wanted.job_id is not None:
            await self.jobs([wanted.job_id])
        return found

    async def run(self, run_id: str) -> RunReport | None:
        from piko.store.reports.overview import Overview

        return await Overview(database=self._database).run(run_id)

    async def attempts(self, run: RunReport) -> list[RunReport]:
        from piko.store.reports.overview import Overview

        return await Overview(database=self._database).attempts(run.job_id, run.scheduled_time)

    async def log(self, run_id: str) -> RunLogReport | None:
        from piko.store.reports.run_logs import RunLogReader

        return await RunLogReader(database=self._database).of_run(run_id)

    async def zones(self, job_ids: Collection[str]) -> dict[str, str]:
        from piko.store.reports.overview import Overview

        if not job_ids:
            return {}
        usual = zone_in_force(self._dsn)
        jobs = await Overview(database=self._database).jobs(job_ids)
        return {job.job_id: job.timezone or usual for job in jobs}

    async def explain(self, job_id: str, at: str | None) -> JobExplanation:
        from piko.store.reports.explanations import explain_job

        moment = None
        if at is not None:
            (job,) = await self.jobs([job_id])
            moment = instant(at, option="INSTANT", zone=job.timezone or zone_in_force(self._dsn))
        return await explain_job(self._database, job_id, at=moment, timezone=zone_in_force(self._dsn))

    async def period(self, since: datetime, until: datetime, job_id: str | None) -> PeriodReport:
        from piko.store.reports.periods import read_period

        return await read_period(self._database, since=since, until=until, job_id=job_id)

    async def watermark(self, job_id: str) -> WatermarkChange:
        from piko.clock import SystemClock
        from piko.steering.schedules import watermark_of

        zone, now = zone_in_force(self._dsn), SystemClock().now()
        return await watermark_of(self._database, job_id, zone=zone, now=now)

    async def config_history(self, job_id: str) -> list[ConfigRevisionShown]:
        from piko.steering.configs import revisions

        return await revisions(self._database, job_id)

    async def backfills(self, job_id: str | None, *, most: int) -> list[Backfill]:
        from piko.store.backfills import BackfillStore

        found = await BackfillStore(database=self._database).newest(job_id=job_id, limit=most)
        if not found and job_id is not None:
            await self.jobs([job_id])
        return found

    async def backfill(self, beginning: str) -> Backfill:
        from piko.steering.backfills import find

        return await find(self._database, beginning)

    async def sinks(self) -> list[SinkReport]:
        from piko.store.reports.sinks import SinkList

        return await SinkList(database=self._database).all()

    async def dead_letters(self, wanted: LetterFilter) -> list[DeadLetterReport]:
        from piko.steering.shell import MOST
        from piko.store.reports.dead_letters import DeadLetterList

        return await DeadLetterList(database=self._database).page(wanted, after=None, limit=MOST)
