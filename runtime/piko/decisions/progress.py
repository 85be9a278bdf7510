"""The runs of a term that are in progress or wait for their turn."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from piko.core.types import TriggerType
from piko.model.runs import Run


class Progress:
    """Runs by id, and which job is busy.

    A run gives up its place when it ends: while the database is away, handlers that have ended must not keep
    others out. Its job stays busy until the end is recorded, for only then the watermark has moved.
    """

    def __init__(self) -> None:
        self.running: dict[str, Run] = {}
        self.waiting: dict[str, Run] = {}
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

    def due_waiting_of(self, job_id: str) -> list[Run]:
        """Due times of the job that found no place yet; retries and manual triggers are something else."""
        waiting = (self.waiting.get(run_id) for run_id in self._of_job.get(job_id, ()))
        return [run for run in waiting if run is not None and run.trigger_type is TriggerType.SCHEDULE]

    def begin(self, run: Run) -> None:
        """`run` is in progress, here or elsewhere."""
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

    def is_ending(self, run_id: str) -> bool:
        """Whether the run has ended, and the database does not know yet."""
        return run_id in self._ending

    def end(self, run_id: str) -> None:
        """The run has ended; its end is on its way to the database."""
        self.running.pop(run_id, None)
        self.waiting.pop(run_id, None)
        self._ending.add(run_id)

    def leave(self, run: Run) -> None:
        """The end of `run` is recorded, or the database knows nothing of it."""
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

        What may start already waits for a place, not for a moment: the end of a run tells when there is one.
        """
        moments = (run.not_before for run in self.waiting.values())
        return min((moment for moment in moments if moment is not None and moment > now), default=None)
