"""Where one more run finds a place: in the replica, and in its concurrency group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from piko.scheduler.plan import Plan, PlannedJob
from piko.store.run_rows import Run
from piko.store.schedules import ScheduleRow


class Room:
    """Places as they are taken, one decision after the other.

    `running` holds one entry for each run in progress: its job, or None where nothing is known of it.
    """

    def __init__(
        self, *, running: Iterable[PlannedJob | None], total: int, group_limits: Mapping[str, int]
    ) -> None:
        self._free = total
        self._group_limits = group_limits
        self._of_job: Counter[str] = Counter()
        self._of_group: Counter[str] = Counter()
        for job in running:
            self.take(job)

    def take(self, job: PlannedJob | None) -> None:
        """One more run of `job`, whether there is a place for it or not."""
        self._free -= 1
        if job is not None:
            self._of_job[job.job_id] += 1
        self.take_in_group(job)

    def take_in_group(self, job: PlannedJob | None) -> None:
        """One more run of `job` that counts for its concurrency group alone."""
        if job is not None and job.row.concurrency_group is not None:
            self._of_group[job.row.concurrency_group] += 1

    def has_place(self, job: PlannedJob) -> bool:
        """Whether the replica and the group of `job` have one more place."""
        group = job.row.concurrency_group
        limit = None if group is None else self._group_limits.get(group)
        return self._free > 0 and (group is None or limit is None or self._of_group[group] < limit)

    def running(self, job: PlannedJob) -> int:
        """Runs of `job`."""
        return self._of_job[job.job_id]


def group_limits(rows: Iterable[ScheduleRow]) -> dict[str, int]:
    """The limit of each group that has one: the lowest of its rows counts."""
    limits: dict[str, int] = {}
    for row in rows:
        group, limit = row.concurrency_group, row.concurrency_limit
        if group is not None and limit is not None:
            limits[group] = min(limit, limits.get(group, limit))
    return limits


class Rooms:
    """The places that a term has to give: of its replica or replicas, and of each concurrency group."""

    def __init__(self, *, plan: Plan, total: int) -> None:
        self._plan = plan
        self._total = total
        self._limits: dict[str, int] | None = None

    def rows_changed(self) -> None:
        """The limits of groups are worked out anew when they are asked for."""
        self._limits = None

    def live(self, *, running: Iterable[Run], beside: Iterable[Run]) -> Room:
        """For live runs; those of backfills, `beside` them, count for concurrency groups alone."""
        jobs = (self._plan.job(run.job_id) for run in running)
        room = Room(running=jobs, total=self._total, group_limits=self._group_limits())
        for run in beside:
            room.take_in_group(self._plan.job(run.job_id))
        return room

    def beside(self, runs: Iterable[Run]) -> Room:
        """For runs of backfills: of the replica and of each group one is kept for live runs."""
        return Room(
            running=(self._plan.job(run.job_id) for run in runs),
            total=self._total - 1,
            group_limits={group: limit - 1 for group, limit in self._group_limits().items()},
        )

    def _group_limits(self) -> dict[str, int]:
        if self._limits is None:
            self._limits = group_limits(verdict.row for verdict in self._plan.verdicts.values())
        return self._limits
