"""Whether what waits in the queue is still to run when its turn comes: pure.

A due time that waits, for a slot or for a run before it, is late when it starts, like one that nobody looked
at: `misfire_grace_s` holds for both, whatever it waited for and however long nobody led meanwhile. It does
not hold for what is wanted whenever it can be had:

- a window of data (a stateful job): `CATCH_UP` is for late ones, and bounds of their own limit them;
- a retry, or the rest of a run that a stop has cut: that due time had begun in time;
- a manual trigger and the windows of a backfill: somebody has asked for them, not a clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.core.types import TriggerType
from piko.decisions.due import grace_of
from piko.model.runs import Run


def overdue(waiting: Iterable[Run], rows: AssessedRows, now: datetime) -> list[tuple[Run, str]]:
    """Those of `waiting` that are not to start any more, each with the reason."""
    found = []
    for run in waiting:
        job = rows.job(run.job_id)
        why = None if job is None else too_late(run, job, now)
        if why is not None:
            found.append((run, why))
    return found


def too_late(run: Run, job: Job, now: datetime) -> str | None:
    """Why `run`, which waits, is not to start any more; None: it may."""
    if run.trigger_type is not TriggerType.SCHEDULE or run.window is not None:
        return None
    if run.scheduled_time + grace_of(job) >= now:
        return None
    return f"waited in the queue until it was older than misfire_grace_s = {job.row.misfire_grace_s:g}"
