"""Which runs and locks of a job are kept: pure rules.

**Runs.** The latest `history_successful` runs that succeeded and `history_failed` runs that ended otherwise
are kept. The runs of a backfill are counted separately, so that a range of old windows and the scheduled runs
do not displace each other. In addition, the following are kept:

- runs that have not ended, and the run that `job_state` names as the last one;
- runs that ended within the last ten minutes: an outcome whose COMMIT was cut off is written a second time,
  and has to find its first write;
- the runs of a backfill that is active or paused;
- a run that holds a window that the watermark has not passed: the next attempt continues its count.

If a job's row was deleted, or a backfill has ended, no row states how long the runs matter: they are also
deleted when they are older than `history_max_age_s`.

**Locks.** A lock keeps its due time from being claimed a second time, whether or not its run is kept. It is
deleted once the due time cannot be claimed again:

- A stateless job claims due times after its cursor, which never moves back, and none that is later than
  `misfire_grace_s` (and `jitter_s`). A lock is deleted when both have passed its due time by an hour, because
  the clocks of replicas may differ.
- A stateful job claims the windows after its watermark. A lock is deleted when the watermark, too, has passed
  it by an hour. People may set the watermark back; then the windows are replayed, and the lock of an ended
  run is ignored.
- A lock whose run is waiting or in progress is never deleted: a replay must not run at the same time.
- If the row was deleted, locks are deleted by age, not before the kept progress (see `piko.store.progress`).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from datetime import datetime, timedelta

from piko.model.retention import EndedRow, JobFacts

SETTLED = timedelta(minutes=10)
MARGIN = timedelta(hours=1)
KEPT_WITHOUT_ROW = 100
"""Runs of each kind that are kept for a job whose row was deleted: the default of a row."""
COUNTED = 100_000
"""The most runs of a kind that are counted; a job that wants more keeps all."""

_LONGEST_S = 3_155_760_000.0
"""A century: a longer duration would leave the calendar."""


class HistoryPolicy:
    """Decides which of one job's ended runs are pruned. Runs may be passed in any order.

    It holds only those that may still have to be kept.
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
