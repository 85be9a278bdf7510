"""What is exported of each job: when it ran, succeeded, is due next, and how far its data is done.

Only the leader knows. Another replica that went on exporting what it knew when it led would say of each job
that it has not succeeded since, and an alert on that would never end. So these series are there while a
replica leads and no longer: a new leader begins with what the database knows, and one that cannot renew its
lease falls silent.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from piko.core.types import RunState
from piko.decisions.effects import Export
from piko.model.runs import RunProgress
from piko.model.states import JobState


class JobSeries:
    """What one step says of the jobs. Runs of backfills say nothing of how a job does now."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._changed = False
        self._forgotten: set[str] = set()
        self._next_run: dict[str, datetime | None] = {}
        self._watermark: dict[str, datetime | None] = {}
        self._last_run: dict[str, datetime] = {}
        self._last_success: dict[str, datetime] = {}
        self._missed: Counter[tuple[str, str]] = Counter()
        self._skipped: Counter[tuple[str, str]] = Counter()
        self._refused: dict[str, int] = {}

    def known(self, state: JobState) -> None:
        """What the database knows of a job when its leader looks at it first."""
        self.ran(state.job_id, state.last_started_at)
        self._succeeded(state.job_id, state.last_success_at)

    def ran(self, job_id: str, at: datetime | None) -> None:
        """A run of the job has started."""
        _advance(self._last_run, job_id, at)
        self._changed = True

    def progressed(self, progress: RunProgress) -> None:
        """How far a run is that another replica runs, as the database says."""
        self.ran(progress.job_id, progress.started_at)
        if progress.state is RunState.SUCCESS:
            self._succeeded(progress.job_id, progress.finished_at)

    def due(self, job_id: str, instant: datetime | None) -> None:
        """When the job is due next; None: it is not, as things stand, and no alert is to wait for it."""
        self._next_run[job_id] = instant
        self._changed = True

    def done_up_to(self, job_id: str, watermark: datetime | None) -> None:
        """Up to where the data of a stateful job is done."""
        self._watermark[job_id] = watermark
        self._changed = True

    def passed_over(self, job_id: str, state: RunState, reason: str, count: int = 1) -> None:
        """Instants of the job do not run: `state` is MISSED, or SKIPPED where its row wants it so."""
        counts = self._skipped if state is RunState.SKIPPED else self._missed
        counts[job_id, reason] += count
        self._changed = True

    def refused(self, what: str) -> None:
        """The database has refused `what` of a job."""
        self._refused[what] = self._refused.get(what, 0) + 1
        self._changed = True

    def forget(self, job_id: str) -> None:
        """The job's row is deleted."""
        self._forgotten.add(job_id)
        self._changed = True

    def take(self) -> Export | None:
        """What has been said since; None: nothing."""
        if not self._changed:
            return None
        export = Export(
            forgotten=self._forgotten,
            next_run=self._next_run,
            watermark=self._watermark,
            last_run=self._last_run,
            last_success=self._last_success,
            missed=self._missed,
            skipped=self._skipped,
            refused=self._refused,
        )
        self._begin()
        return export

    def _succeeded(self, job_id: str, at: datetime | None) -> None:
        _advance(self._last_success, job_id, at)
        self._changed = True


def _advance(known: dict[str, datetime], job_id: str, at: datetime | None) -> None:
    if at is not None:
        known[job_id] = max(known.get(job_id, at), at)
