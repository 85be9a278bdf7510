"""What lets handlers start at their instants: the horizon of claims, upcoming runs, and the start mark."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from piko.catalog.jobs import Job
from piko.clock import Clock
from piko.decisions.ends import left_out, missed
from piko.decisions.lateness import too_late
from piko.decisions.skips import Skip
from piko.errors import FencedError
from piko.execution.executor import Executor
from piko.execution.start_mark import StartMarks
from piko.execution.upcoming import UpcomingRuns
from piko.leadership.elector import Elector
from piko.model.fences import InstanceFence
from piko.model.instances import Instance
from piko.model.runs import Outcome, Run
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.horizon import Horizon
from piko.scheduler.parts import SchedulerLimits, SchedulerStores

log = get_logger(__name__)


class Punctuality:
    """Of one replica.

    - `give_up`: called with the outcome of a run that does not start at its time.
    - `skipped`: why a run is left out at its time by what the leader knows then; None: it is not.
    """

    def __init__(
        self,
        *,
        stores: SchedulerStores,
        limits: SchedulerLimits,
        elector: Elector,
        executor: Executor,
        instance: Instance,
        give_up: Callable[[Outcome, InstanceFence], None],
        begins: Callable[[Run, Job, datetime], Skip | None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._runs = stores.runs
        self._offers = limits.offers
        self._elector = elector
        self._executor = executor
        self._give_up = give_up
        self._begins = begins
        self._clock = clock
        self._metrics = metrics
        self._horizon = Horizon(poll_interval_s=limits.poll_interval_s, clock=clock)
        self.upcoming = UpcomingRuns(start=self._start, may_start=self._may_start, clock=clock)
        self.start_marks = StartMarks(
            upcoming=self.upcoming,
            instances=stores.instances,
            instance=instance,
            clock=clock,
            metrics=metrics,
        )
        metrics.claim_horizon.set_function(lambda: self.ahead.total_seconds())

    @property
    def ahead(self) -> timedelta:
        """How long before its due time a run is claimed now."""
        if self._offers:  # a replica that fetches a run starts it at once
            return timedelta(0)
        return self._horizon.ahead(start_lead_s=2 * self.start_marks.lead_s)

    def answered_in(self, seconds: float) -> None:
        """So long has one question to the database taken, at the beginning of a term."""
        self._horizon.answered_in(seconds)
        self.start_marks.answered_in(seconds)

    def took(self, seconds: float) -> None:
        """A round of the leader's loop has taken so long."""
        self._horizon.took(seconds)

    async def leave_unbegun(self) -> None:
        """Leave what has not begun to the next leader. Raises `DatabaseUnavailableError`."""
        unbegun, fence = self.upcoming.drop(), self._elector.fence
        if unbegun and fence is not None:
            try:
                await self._runs.requeue(unbegun, fence)
            except FencedError as error:  # then the next leader takes them by their start mark
                log.warning("fenced", epoch=fence.epoch, error=str(error))

    def _may_start(self, fence: InstanceFence) -> bool:
        acting = self._elector.acting
        return acting is not None and acting.epoch == fence.epoch

    def _start(self, run: Run, job: Job, fence: InstanceFence) -> None:
        """The time of `run` has come; it may have passed while leadership was suspended."""
        now = self._clock.now()
        if (why := too_late(run, job, now)) is not None:
            self._metrics.job_missed.inc(run.job_id, "misfire")
            log.warning("run_missed", job_id=run.job_id, run_id=run.run_id, why=why)
            self._give_up(missed(run, now, why=why), fence)
        elif (skip := self._begins(run, job, now)) is not None:
            self._metrics.job_skipped.inc(run.job_id, skip.reason)
            self._give_up(left_out(run, now, why=skip.why), fence)
        else:
            self._executor.start(run, job, fence)
