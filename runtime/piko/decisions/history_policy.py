"""Which runs and locks of a job are kept: pure rules.

**Runs.** `history_successful` runs that succeeded and `history_failed` that ended otherwise are kept, those
that ended last. The runs of a backfill are counted by themselves, so that a range of old windows and the live
runs do not push each other out. Besides these numbers, the following stays:

- what has not ended, and the run that `job_state` names as the last one;
- what ended within the last ten minutes: an outcome whose COMMIT was cut off is written a second time, and
  has to find its first try;
- the runs of a backfill that is active or paused;
- a run that holds a window which the watermark has not passed: the next attempt counts on from it.

Of a job whose row is gone, and of a backfill that is over, no row says how long they matter: their runs also
go when they are older than `history_max_age_s`.

**Locks.** A lock keeps its due time from being claimed a second time, whether its run is kept or not. It can
go once nothing would claim that due time again:

- A stateless job claims instants after its cursor, which never goes back, and none that is later than
  `misfire_grace_s` (and `jitter_s`). A lock goes when both have left its due time behind by an hour, for the
  sake of replicas whose clocks differ.
- A stateful job claims the windows after its watermark. A lock goes when that, too, has left it behind by an
  hour. People may set the watermark back; then the windows are replayed, and a lock whose run is over counts
  for nothing.
- No lock goes whose run waits or runs, whatever its due time: a replay must not run at the same time.
- Where the row is gone, locks go by age: none sooner than what is kept for the next row (see
  `piko.store.progress`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta

from piko.model.retention import EndedRow, JobFacts

SETTLED = timedelta(minutes=10)
MARGIN = timedelta(hours=1)
KEPT_WITHOUT_ROW = 100
"""Of each kind, of a job whose row is gone: as of a row that says nothing else."""
COUNTED = 100_000
"""More than so many runs of a kind are not counted: a job that asks for more keeps all."""

_LONGEST_S = 3_155_760_000.0
"""A century: a longer duration would leave the calendar."""


class HistoryPolicy:
    """Tells of one job's ended runs, shown to it in any order, which are to be pruned.

    It holds those that it may still have to keep, and no more.
    """

    def __init__(self, job: JobFacts, *, now: datetime, max_age_s: float) -> None:
        self._job = job
        self._too_old = now - seconds(max_age_s)
        self._settled = now - SETTLED
        self._newest: dict[tuple[str | None, bool], list[tuple[datetime, str, EndedRow]]] = {}

    def show(self, run: EndedRow) -> Iterator[EndedRow]:
        """Take note of `run`; what is to be pruned now that it is known."""
        if run.backfill_id in self._job.open_backfills:
            return
        ages = self._job.schedule is None or run.backfill_id is not None
        if ages and run.ended_at < self._too_old:
            yield from self._unless_protected(run)
            return
        most = self._most(succeeded=run.succeeded)
        if most > COUNTED:
            return
        newest = self._newest.setdefault((run.backfill_id, run.succeeded), [])
        item = (run.ended_at, run.run_id, run)
        if len(newest) < most:
            heapq.heappush(newest, item)
        else:
            oldest = heapq.heappushpop(newest, item) if most else item
            yield from self._unless_protected(oldest[2])

    def _most(self, *, succeeded: bool) -> int:
        schedule = self._job.schedule
        if schedule is None:
            return KEPT_WITHOUT_ROW
        return schedule.history_successful if succeeded else schedule.history_failed

    def _unless_protected(self, run: EndedRow) -> Iterator[EndedRow]:
        if run.run_id != self._job.last_run_id and run.ended_at < self._settled:
            yield run


def prunable_locks(job: JobFacts, *, now: datetime, max_age_s: float) -> datetime | None:
    """Up to which due time the locks of `job` can go; None: none can."""
    schedule = job.schedule
    if schedule is None:
        return now - seconds(max_age_s)
    if job.cursor_at is None or (job.stateful and schedule.last_data_time is None):
        return None
    behind = min(job.cursor_at, now - seconds(schedule.misfire_grace_s + schedule.jitter_s))
    if schedule.last_data_time is not None:
        behind = min(behind, schedule.last_data_time)
    return behind - MARGIN


def seconds(duration_s: float) -> timedelta:
    return timedelta(seconds=min(duration_s, _LONGEST_S))
