"""What is exported of each job: when it ran, succeeded, is due next, and how far its data is done.

Only the leader knows. Another replica that went on telling what it knew when it led would say of each job
that it has not succeeded since, and an alert on that would never end. So these series are there while a
replica leads and no longer: a new leader begins with what the database knows, and one that cannot renew its
lease falls silent.
"""

from __future__ import annotations

from datetime import datetime

from piko.core.types import RunState, TriggerType
from piko.model.runs import Run, RunProgress
from piko.model.states import JobState
from piko.observability.metrics import JobInstants, Metrics


class Telling:
    """The leader's word in the metrics. Runs of backfills say nothing of how a job does now."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def known(self, state: JobState) -> None:
        """What the database knows of a job when its leader looks at it first."""
        self._ran(state.job_id, state.last_started_at)
        self._succeeded(state.job_id, state.last_success_at)

    def started(self, run: Run, at: datetime) -> None:
        """`run` starts on this replica."""
        if run.trigger_type is not TriggerType.BACKFILL:
            self._ran(run.job_id, at)

    def elsewhere(self, progress: RunProgress) -> None:
        """How far a run is that another replica runs, as the database says."""
        self._ran(progress.job_id, progress.started_at)
        if progress.state is RunState.SUCCESS:
            self._succeeded(progress.job_id, progress.finished_at)

    def due(self, job_id: str, instant: datetime | None) -> None:
        """When the job is due next; None: it is not, as things stand, and no alert is to wait for it."""
        _tell(self._metrics.job_next_run, job_id, instant)

    def done_up_to(self, job_id: str, watermark: datetime | None) -> None:
        """Up to where the data of a stateful job is done."""
        _tell(self._metrics.job_watermark, job_id, watermark)

    def forget(self, job_id: str) -> None:
        """The job's row is gone."""
        self._metrics.forget_job(job_id)

    def _ran(self, job_id: str, instant: datetime | None) -> None:
        if instant is not None:
            self._metrics.job_last_run.advance(job_id, instant)

    def _succeeded(self, job_id: str, instant: datetime | None) -> None:
        if instant is not None:
            self._metrics.job_last_success.advance(job_id, instant)


def _tell(gauge: JobInstants, job_id: str, instant: datetime | None) -> None:
    if instant is None:
        gauge.remove(job_id)
    else:
        gauge.set(job_id, instant)
