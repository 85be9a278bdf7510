"""What the leader orders about single runs: to start, to be cancelled, or to be over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import FAILED_STATES, RunState, TriggerType
from piko.decisions.effects import Cancel, Conclude, Level, Start
from piko.decisions.ends import NO_ROW, next_attempt
from piko.decisions.outbox import Outbox
from piko.decisions.runs import Runs
from piko.model.runs import Outcome, Run


class RunOrders:
    """Gives orders about runs, and keeps the account in step with them."""

    def __init__(self, *, rows: AssessedRows, runs: Runs, outbox: Outbox, new_id: Callable[[], str]) -> None:
        self._rows = rows
        self._runs = runs
        self._outbox = outbox
        self._new_id = new_id

    def start(self, runs: Iterable[Run], now: datetime) -> None:
        """The handlers of `runs` begin on this replica, where their jobs are still there."""
        starting: list[tuple[Run, Job]] = []
        for run in runs:
            job = self._rows.job(run.job_id)
            if job is None:
                self.conclude(run, RunState.CANCELLED, NO_ROW, now)
                continue
            starting.append((run, job))
            if run.trigger_type is not TriggerType.BACKFILL and run.starts_at is None:
                self._outbox.series.ran(run.job_id, now)
        if starting:
            self._outbox.put(Start(runs=starting))

    def cancel(self, run: Run, reason: str, now: datetime) -> None:
        """End `run`, on whatever replica it is in progress, or while it waits."""
        if run.run_id in self._runs.of(run).waiting:
            self.conclude(run, RunState.CANCELLED, reason, now)
        else:
            self._outbox.put(Cancel(run_id=run.run_id, reason=reason))

    def conclude(self, run: Run, state: RunState, why: str, now: datetime) -> None:
        """Record the end of a run that no handler here will end."""
        job = self._rows.job(run.job_id)
        retry = None if job is None else next_attempt(run, job, state=state, now=now, new_id=self._new_id)
        self._outbox.log(
            Level.ERROR if state in FAILED_STATES else Level.WARNING,
            "run_ended_without_handler",
            job_id=run.job_id,
            run_id=run.run_id,
            state=state.value,
            why=why,
        )
        outcome = Outcome(
            run=run, state=state, started_at=None, finished_at=now, duration_s=None, error=why, retry=retry
        )
        self._runs.of(outcome.run).end(outcome.run.run_id)
        self._outbox.put(Conclude(outcome=outcome))
