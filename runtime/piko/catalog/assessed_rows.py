"""The rows as this replica has understood them: a plain mapping, which decisions read."""

from __future__ import annotations

from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import JobStatus


class AssessedRows(dict[str, AssessedRow]):
    """What each row means to this code, by job id."""

    __slots__ = ()

    def job(self, job_id: str) -> Job | None:
        """The job of `job_id` with its code and schedule, suspended ones included."""
        assessed = self.get(job_id)
        return None if assessed is None else assessed.job

    def scheduled(self, job_id: str) -> Job | None:
        """The job of `job_id` where it is to fire by itself."""
        assessed = self.get(job_id)
        return assessed.job if assessed is not None and assessed.status is JobStatus.SCHEDULED else None
