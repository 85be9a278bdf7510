"""Cancels handlers whose run has ended in the database.

A person may set a running `job_run` to `CANCELLED`; a leader may give up the runs of a silent replica, or
replace a run. The handler is then cancelled within one poll, because none of its results count any more.
"""

from __future__ import annotations

from piko.background.periodic import Transient, repeat
from piko.errors import DatabaseUnavailableError
from piko.execution.executor import Executor
from piko.execution.upcoming import UpcomingRuns
from piko.model.instances import Instance
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.runs import RunStore

log = get_logger(__name__)


class CancellationWatcher:
    """Compares the runs of this replica with their rows in the database."""

    name = "cancellation_watcher"

    def __init__(
        self,
        *,
        runs: RunStore,
        executor: Executor,
        upcoming: UpcomingRuns,
        instance: Instance,
        metrics: Metrics,
        poll_interval_s: float,
    ) -> None:
        self._runs = runs
        self._executor = executor
        self._upcoming = upcoming
        self._instance = instance
        self._metrics = metrics
        self._poll_interval_s = poll_interval_s

    async def run(self) -> None:
        """Compare every `poll_interval_s`, until cancelled."""
        away = Transient(errors=(DatabaseUnavailableError,), report=self._failed)
        await repeat(self._compare, pause_s=self._poll_interval_s, transient=[away])

    def _failed(self, _: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()  # the parts that must write say so

    async def _compare(self) -> None:
        # Read first, so that a run that begins meanwhile is not mistaken for an ended one.
        ours = self._executor.run_ids | self._upcoming.held_ids
        if not ours:
            return
        ended = ours - await self._runs.running_on(self._instance.instance_id)
        ended &= self._executor.run_ids | self._upcoming.held_ids  # the others have ended in the meantime
        if not ended:
            return
        states = await self._runs.states(ended)
        for run_id in ended:
            state = states.get(run_id)
            what = "was deleted" if state is None else f"says {state.value}"
            log.warning("run_cancelled_by_row", run_id=run_id, row=what)
            self._upcoming.hand_over(run_id)
            self._executor.cancel(run_id, reason=f"its row in job_run {what}")
