"""Exports by when each job has to have kept its objective, and which jobs fail, on every replica.

A leader that died, or never came, cannot say that a job is late. So each replica says it of every job that
has an objective, whether it has the code of the job or not: the deadline stays where it is until the job
moves it, and an alert compares it with the time. While the database is away, what was read last stands.

A look reads one line for each such job, and the rest only of those that have changed. It is cheap for
thousands of jobs; where it takes longer, the next one comes later, so that the database is left alone for
twenty times as long.
"""

from __future__ import annotations

from datetime import datetime

from piko.background.periodic import Transient, repeat
from piko.background.rest import Rest
from piko.clock import Clock, Slices
from piko.errors import DatabaseUnavailableError
from piko.model.objectives import deadlines
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.reports.objectives import Objectives, Sign

_EVERY_S = 2.0
_NO_LESS_THAN_POLLS = 2.0
"""A look is not made more often than every so many comparisons of rows."""
_RESTS = 20.0
"""How many times as long as a look took is rested after it."""

log = get_logger(__name__)


class DeadlineWatch:
    """Keeps `piko_job_deadline_timestamp_seconds` and `piko_job_consecutive_failures` as the rows are."""

    name = "deadline_watch"

    def __init__(
        self,
        *,
        objectives: Objectives,
        clock: Clock,
        metrics: Metrics,
        poll_interval_s: float,
        timezone: str,
    ) -> None:
        self._objectives = objectives
        self._clock = clock
        self._metrics = metrics
        self._timezone = timezone
        least_s = max(_EVERY_S, _NO_LESS_THAN_POLLS * poll_interval_s)
        self._rest = Rest(times=_RESTS, least_s=least_s)
        self._took_s = 0.0
        self._signs: dict[str, Sign] = {}
        self._moving: set[str] = set()
        """Jobs whose deadlines move with their runs, too, of which the rows say nothing."""
        self._first: dict[str, datetime] = {}
        """The first deadline of each job that has one."""
        self._failing: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._failed)
        await repeat(self.look, pause_s=self.pause_s, transient=[away])

    def pause_s(self) -> float:
        """How long the database is left alone after the last look."""
        return self._rest.after_s(self._took_s)

    def in_trouble(self, now: datetime) -> set[str]:
        """The jobs that are late or fail, as far as the last look knows."""
        return {*self._failing, *(job_id for job_id, at in self._first.items() if at <= now)}

    async def look(self) -> None:
        """Read what has changed, once. Raises `DatabaseUnavailableError`."""
        began = self._clock.monotonic()
        await self._read()
        self._took_s = self._clock.monotonic() - began

    async def _read(self) -> None:
        signs = await self._objectives.signs()
        for job_id in self._signs.keys() - signs.keys():
            self._metrics.job_deadline.remove(job_id)
            self._first.pop(job_id, None)
            self._moving.discard(job_id)
        changed = {job_id for job_id, sign in signs.items() if self._signs.get(job_id) != sign}
        jobs = await self._objectives.read(changed | self._moving)
        slices = Slices(self._clock)
        for job_id, job in jobs.items():
            await slices.pause()
            found: dict[str, datetime] = {
                item.kind.value: item.at for item in deadlines(job, timezone=self._timezone)
            }
            self._metrics.job_deadline.set(job_id, found)
            if found:
                self._first[job_id] = min(found.values())
            else:
                self._first.pop(job_id, None)
            moves = job.start_within_s is not None or job.finish_within_s is not None
            (self._moving.add if moves else self._moving.discard)(job_id)
        self._signs = signs
        failures = await self._objectives.failures()
        self._metrics.job_failures.replace(failures)
        self._failing = frozenset(failures)

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("deadlines_not_read", error=str(error))
