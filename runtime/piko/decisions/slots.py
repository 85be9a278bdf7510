"""Where one more run finds a slot: in the replica, and in its concurrency group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime

from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.jobs import Job
from piko.decisions.runs import Runs
from piko.model.runs import Run
from piko.model.schedules import ScheduleRow


class Slots:
    """Slots as they are taken, one decision after the other.

    `begun` and `upcoming` hold one entry for each run: its job, or None where nothing is known of it.
    """

    def __init__(
        self,
        *,
        begun: Iterable[Job | None],
        upcoming: Iterable[Job | None],
        total: int,
        group_limits: Mapping[str, int],
    ) -> None:
        self._free = total
        self._group_limits = group_limits
        self._of_job: Counter[str] = Counter()
        self._upcoming: Counter[str] = Counter()
        """Upcoming runs of jobs that are judged at the start: they are not among `_of_job`."""
        self._of_group: Counter[str] = Counter()
        for job in begun:
            self.take(job)
        for job in upcoming:
            self.take_ahead(job)

    def take(self, job: Job | None) -> None:
        """One more run of `job`, whether there is a slot for it or not."""
        self._free -= 1
        if job is not None:
            self._of_job[job.job_id] += 1
        self.take_in_group(job)

    def take_ahead(self, job: Job | None) -> None:
        """One more upcoming run of `job`; one that would not start beside those before it has their slot."""
        if job is None or not job.is_judged_at_start:
            self.take(job)
            return
        if not self.shares(job):
            self._free -= 1
        self._upcoming[job.job_id] += 1
        self.take_in_group(job)

    def shares(self, job: Job) -> bool:
        """Whether one more upcoming run of `job` needs no slot of its own."""
        others = self._of_job[job.job_id] + self._upcoming[job.job_id]
        return job.is_judged_at_start and others >= job.row.max_instances

    def take_in_group(self, job: Job | None) -> None:
        """One more run of `job` that counts for its concurrency group alone."""
        if job is not None and job.row.concurrency_group is not None:
            self._of_group[job.row.concurrency_group] += 1

    @property
    def free(self) -> int:
        """Slots of the replica that are left."""
        return self._free

    def has_slot(self, job: Job) -> bool:
        """Whether the replica and the group of `job` have one more slot."""
        group = job.row.concurrency_group
        limit = None if group is None else self._group_limits.get(group)
        return self._free > 0 and (group is None or limit is None or self._of_group[group] < limit)

    def running(self, job: Job) -> int:
        """Runs of `job` that another one has to wait for."""
        return self._of_job[job.job_id]


def group_limits(rows: Iterable[ScheduleRow]) -> dict[str, int]:
    """The limit of each group that has one: the lowest of its rows counts."""
    limits: dict[str, int] = {}
    for row in rows:
        group, limit = row.concurrency_group, row.concurrency_limit
        if group is not None and limit is not None:
            limits[group] = min(limit, limits.get(group, limit))
    return limits


class SlotTable:
    """The slots that a term has to give: of its replica or replicas, and of each concurrency group."""

    def __init__(self, *, rows: AssessedRows, runs: Runs, total: int) -> None:
        self._rows = rows
        self._runs = runs
        self._total = total
        self._limits: dict[str, int] | None = None

    def rows_changed(self) -> None:
        """The limits of groups are worked out again when they are asked for."""
        self._limits = None

    def for_live(self, now: datetime) -> Slots:
        """For live runs; those of backfills count for concurrency groups alone."""
        slots = self._slots((), total=self._total, limits=self._group_limits(), now=now)
        for run in self._runs.backfills.running.values():
            slots.take_in_group(self._rows.job(run.job_id))
        return slots

    def for_backfills(self, now: datetime) -> Slots:
        """For runs of backfills: of the replica and of each group one slot is kept for live runs."""
        limits = {group: limit - 1 for group, limit in self._group_limits().items()}
        backfills = self._runs.backfills.running.values()
        return self._slots(backfills, total=self._total - 1, limits=limits, now=now)

    def _slots(
        self, backfills: Iterable[Run], *, total: int, limits: Mapping[str, int], now: datetime
    ) -> Slots:
        live = self._runs.live.running.values()
        begun = [run for run in live if not run.starts_after(now)]
        upcoming = () if len(begun) == len(live) else [run for run in live if run.starts_after(now)]
        return Slots(
            begun=(self._rows.job(run.job_id) for run in (*begun, *backfills)),
            upcoming=(self._rows.job(run.job_id) for run in upcoming),
            total=total,
            group_limits=limits,
        )

    def _group_limits(self) -> dict[str, int]:
        if self._limits is None:
            self._limits = group_limits(assessed.row for assessed in self._rows.values())
        return self._limits
