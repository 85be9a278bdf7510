"""Claims: all that falls due together, for one transaction."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from piko.model.runs import PassedOver, Run
from piko.model.states import JobState
from piko.model.watermarks import WatermarkMove


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimBatch:
    """What the leader claims at once: runs, instants that do not run, and what it says of their jobs.

    `token` marks the locks that the batch takes. Written again after a COMMIT whose answer was lost, the
    batch recognises by it what its first try wrote.
    """

    token: str
    runs: Sequence[Run]
    passed_over: Sequence[PassedOver]
    states: Sequence[JobState]
    again: bool = False
    """Whether a window among the runs was claimed before and failed, as far as the leader knows.

    If it does not know, the first attempt to insert the batch fails, and the claim reads whose each due time
    is.
    """
    completed: Collection[str] = ()
    """Jobs whose `date` schedule has fired now."""
    watermarks: Sequence[WatermarkMove] = ()
    """Jumps over windows that are passed over."""

    @property
    def jobs(self) -> set[str]:
        """The jobs that any part of the batch concerns."""
        parts = (self.runs, self.passed_over, self.states, self.watermarks)
        return {item.job_id for part in parts for item in part} | set(self.completed)

    def only(self, jobs: Collection[str]) -> ClaimBatch:
        """The part that concerns `jobs`."""
        return replace(
            self,
            runs=[item for item in self.runs if item.job_id in jobs],
            passed_over=[item for item in self.passed_over if item.job_id in jobs],
            states=[item for item in self.states if item.job_id in jobs],
            completed=[job_id for job_id in self.completed if job_id in jobs],
            watermarks=[item for item in self.watermarks if item.job_id in jobs],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """A run that was claimed ahead and is not to start, and `why`.

    `state` is the job's state as it was before the claim, with the cursor before the due time of the run:
    whether it runs is decided again.
    Where several of a job are taken back, the state before the first counts. `queued`: the run waits in the
    queue, and no instance has it.
    """

    run: Run
    state: JobState
    why: str
    queued: bool = False

    @property
    def job_id(self) -> str:
        return self.run.job_id


def states_before(withdrawals: Iterable[Withdrawal]) -> list[JobState]:
    """The state of each job before the first of its claims that are taken back."""
    first: dict[str, Withdrawal] = {}
    for item in withdrawals:
        known = first.get(item.job_id)
        if known is None or item.run.scheduled_time < known.run.scheduled_time:
            first[item.job_id] = item
    return [item.state for item in first.values()]
