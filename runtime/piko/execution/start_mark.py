"""Writes how far this instance may have started runs that were claimed ahead.

A run that was claimed ahead is RUNNING in the database before its handler is called. If its instance dies,
the next leader must know whether it has begun. So an instance writes `runtime_instance.starts_until` before
it starts such a run, a moment ahead and for all that start until then, and starts none with a later
`starts_at`. That write is refused once another replica has taken over the leadership under which the run was
claimed: from then on the mark stands still, and what lies behind it has not begun and never will.

One statement of one row is enough for all runs of a moment, and none is needed while nothing was claimed
ahead.
"""

from __future__ import annotations

from datetime import timedelta

from piko.background.backoff import Backoff
from piko.background.latency import RecentLatency
from piko.background.periodic import Transient, repeat
from piko.clock import Clock
from piko.errors import DatabaseUnavailableError
from piko.execution.upcoming import UpcomingRuns
from piko.model.instances import Instance
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.instances import InstanceStore

_LEAST_S, _LONGEST_S = 0.05, 10.0
_TIMES = 3
"""A mark may wait for the COMMIT of a batch of outcomes, and then for that of the next one."""
_AGAIN_S = 0.1

log = get_logger(__name__)


class StartMarks:
    """Keeps the start mark of this instance ahead of its upcoming runs."""

    name = "start_marks"

    def __init__(
        self,
        *,
        upcoming: UpcomingRuns,
        instances: InstanceStore,
        instance: Instance,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._upcoming = upcoming
        self._instances = instances
        self._instance = instance
        self._clock = clock
        self._metrics = metrics
        self._latency = RecentLatency(clock)
        self._pause_s: float | None = None
        """How long nothing is to be written, unless something arrives."""

    @property
    def lead_s(self) -> float:
        """How long before a start its mark is written, in seconds: it follows what the database takes."""
        return min(max(_TIMES * self._latency.seconds, _LEAST_S), _LONGEST_S)

    def answered_in(self, seconds: float) -> None:
        """So long has one question to the database taken, before any mark."""
        self._latency.note(seconds)

    async def run(self) -> None:
        """Write marks until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,), report=self._failed, backoff=Backoff.steady(_AGAIN_S)
        )
        await repeat(
            self._write_next, pause_s=lambda: self._pause_s, wake=self._upcoming.arrived, transient=[away]
        )

    def _failed(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        log.warning("start_mark_not_written", error=str(error), upcoming=len(self._upcoming))

    async def _write_next(self) -> None:
        """Write the mark if a run needs it soon."""
        self._pause_s = None
        found = self._upcoming.first_unmarked()
        if found is None:
            return
        starts_at, fence = found
        now, lead_s = self._clock.now(), self.lead_s
        soon_s = (starts_at - now).total_seconds() - lead_s
        if soon_s > 0:
            self._pause_s = soon_s
            return
        until = max(starts_at, now + timedelta(seconds=2 * lead_s))
        began = self._clock.monotonic()
        try:
            kept = await self._instances.mark_starts(
                self._instance.instance_id, epoch=fence.epoch, until=until
            )
        finally:  # one that waited for a lock in vain shows how long the next one may take
            self._latency.note(self._clock.monotonic() - began)
        if kept:
            self._upcoming.marked(until)
        else:
            left = self._upcoming.refused(fence)
            log.error("upcoming_runs_taken_away", epoch=fence.epoch, runs=[run.run_id for run in left][:50])
        self._pause_s = 0.0
