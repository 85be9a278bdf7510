"""The runs of a term that have not ended: live ones, and those of backfills."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from piko.core.types import TriggerType
from piko.model.runs import Run


class OpenRuns:
    """Runs by id, and which job is busy.

    A run gives up its slot when it ends: while the database is away, handlers that have ended must not keep
    others out. Its job stays busy until the end is recorded, for only then the watermark has moved.
    """

    def __init__(self) -> None:
        self.running: dict[str, Run] = {}
        self.waiting: dict[str, Run] = {}
        self.remote: set[str] = set()
        """Ids of runs in progress whose end only the database can tell."""
        self._of_job: dict[str, set[str]] = {}
        self._ending: set[str] = set()
        self._recorded: set[str] = set()

    def busy(self, job_id: str) -> bool:
        """Whether a run of the job is in progress, waits, or has an end that is not recorded."""
        return job_id in self._of_job

    def find(self, run_id: str) -> Run | None:
        """The run of that id, where it is in progress or waits."""
        return self.running.get(run_id) or self.waiting.get(run_id)

    def running_of(self, job_id: str) -> list[Run]:
        return [self.running[run_id] for run_id in self._of_job.get(job_id, ()) if run_id in self.running]

    def idle(self, job_id: str) -> bool:
        """Whether no run of the job is in progress or waits; an end may still have to be recorded."""
        of_job = self._of_job.get(job_id, ())
        return not any(run_id in self.running or run_id in self.waiting for run_id in of_job)

    def due_waiting_of(self, job_id: str) -> list[Run]:
        """Due times of the job that found no slot yet; retries and manual triggers are something else."""
        waiting = (self.waiting.get(run_id) for run_id in self._of_job.get(job_id, ()))
        return [run for run in waiting if run is not None and run.trigger_type is TriggerType.SCHEDULE]

    def taken(self, oldest: datetime | None) -> set[str]:
        """Those of `remote` that wait no longer; `oldest`: of when the oldest offer is that does, if any."""
        if oldest is None:
            return set(self.remote)
        known = ((run_id, self.running.get(run_id)) for run_id in self.remote)
        return {
            run_id
            for run_id, run in known
            if run is None or run.offered_at is None or run.offered_at < oldest
        }

    def hold(self, runs: Iterable[Run]) -> None:
        """Runs that are offered, or in progress on another replica, count as running.

        They do until they have ended or are given up.
        """
        for run in runs:
            self.begin(run)
            self.remote.add(run.run_id)

    def begin(self, run: Run) -> None:
        """`run` is in progress, on this replica or, where it is offered, on any."""
        if run.is_offered:
            self.remote.add(run.run_id)
        if run.run_id not in self._ending:
            self.waiting.pop(run.run_id, None)
            self.running[run.run_id] = run
            self._of_job.setdefault(run.job_id, set()).add(run.run_id)

    def wait(self, run: Run) -> None:
        """`run` waits for its turn, unless it has had it.

        A retry that the queue showed may have begun, and ended, before the outcome that it is the retry of is
        known to be recorded: where the COMMIT of that outcome was cut off, it is written again.
        """
        if run.run_id in self.running or run.run_id in self._ending:
            return
        self.waiting[run.run_id] = run
        self._of_job.setdefault(run.job_id, set()).add(run.run_id)

    def enqueue(self, runs: Iterable[Run]) -> None:
        """Take in what waits according to the database.

        It may have been read before an end was recorded that is recorded now: such a run does not come back.
        """
        for run in runs:
            if run.run_id not in self._recorded:
                self.wait(run)
        self._recorded.clear()

    def end(self, run_id: str) -> None:
        """The run has ended; its end is on its way to the database."""
        self.running.pop(run_id, None)
        self.waiting.pop(run_id, None)
        self._ending.add(run_id)

    def let_go(self, run_ids: Iterable[str]) -> Iterator[Run]:
        """These runs have ended, or were deleted, without this replica; those that it knew leave.

        One that has ended here as well stays until the database knows: its outcome is on its way.
        """
        for run_id in run_ids:
            self.remote.discard(run_id)
            run = self.find(run_id)
            if run is not None and run_id not in self._ending:
                self.leave(run)
                yield run

    def leave(self, run: Run) -> None:
        """The end of `run` is recorded, or the database knows nothing of it."""
        self.remote.discard(run.run_id)
        self.running.pop(run.run_id, None)
        self.waiting.pop(run.run_id, None)
        self._ending.discard(run.run_id)
        self._recorded.add(run.run_id)
        of_job = self._of_job.get(run.job_id, set())
        of_job.discard(run.run_id)
        if not of_job:
            self._of_job.pop(run.job_id, None)

    def next_start(self, now: datetime) -> datetime | None:
        """When the next waiting run may start by its own clock.

        Runs that may already start wait for a slot, not for an instant; the end of a run frees one.
        """
        moments = (run.not_before for run in self.waiting.values())
        return min((moment for moment in moments if moment is not None and moment > now), default=None)
