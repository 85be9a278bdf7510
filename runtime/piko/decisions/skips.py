"""Due times that were claimed and are left out when they come, because the job's row wants it so: pure.

A claim that was made ahead says that nobody else runs the due time. Whether it runs is seen at its instant,
by what is known then, as if it were claimed then:

- a due time that another one of its job has overtaken is coalesced into it;
- one that meets as many runs as the job may have is skipped.

Of jobs whose row wants something else, only such due times are claimed ahead as start in any case.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import RunState, TriggerType
from piko.decisions.due import COALESCED, start_of
from piko.decisions.open_runs import OpenRuns
from piko.decisions.outbox import Outbox
from piko.decisions.run_orders import RunOrders
from piko.model.runs import Run


@dataclass(frozen=True, slots=True)
class Skip:
    """`reason`: the word for it in the metrics; `why`: as a person reads it."""

    reason: str
    why: str


class Skips:
    """Sees in one term what of the claims made ahead is left out."""

    def __init__(self, *, rows: AssessedRows, progress: OpenRuns, orders: RunOrders, outbox: Outbox) -> None:
        self._rows = rows
        self._progress = progress
        self._orders = orders
        self._outbox = outbox

    def of(self, run: Run, job: Job, now: datetime) -> Skip | None:
        """Why `run`, whose time has come, is left out; None: it starts."""
        running, waiting = self._progress.running_of(run.job_id), self._progress.due_waiting_of(run.job_id)
        return skipped(run, job, (*running, *waiting), now)

    def leave_out(self, now: datetime) -> None:
        """Of what waits for its time since its instance died, end that which is not to start now."""
        waiting = self._progress.waiting.values()
        come = [run for run in waiting if run.not_before is not None and run.not_before <= now]
        for run in sorted(come, key=lambda item: item.scheduled_time):
            job = self._rows.job(run.job_id)
            skip = None if job is None else self.of(run, job, now)
            if skip is not None:
                self._outbox.series.passed_over(run.job_id, RunState.SKIPPED, skip.reason)
                self._orders.conclude(run, RunState.SKIPPED, skip.why, now)


def skipped(run: Run, job: Job, others: Iterable[Run], now: datetime) -> Skip | None:
    """Why `run`, which was claimed ahead and whose time has come, does not start; None: it does.

    `others`: the runs of its job that are in progress or upcoming, and its due times that wait.
    """
    if run.trigger_type is not TriggerType.SCHEDULE or run.window is not None or not job.is_judged_at_start:
        return None
    following = job.schedule.next_after(run.scheduled_time)
    if following is not None and start_of(job, following) <= now:
        return Skip("coalesced", COALESCED)
    begun = sum(1 for other in others if other.run_id != run.run_id and not _is_still_to_come(other, now))
    if begun < job.row.max_instances:
        return None
    return Skip(
        "overlap", f"{begun} of max_instances = {job.row.max_instances} in progress (overlap_policy = skip)"
    )


def _is_still_to_come(run: Run, now: datetime) -> bool:
    return run.starts_after(now) or (run.not_before is not None and run.not_before > now)
