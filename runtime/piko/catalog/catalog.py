"""What a row means to this code: a planned job, or the reason why it is none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from piko.catalog.jobs import AssessedRow, Job
from piko.core.types import JobStatus
from piko.leadership.contact import Contact

_GAP_S = 3.0


@dataclass(slots=True)
class Catalog:
    """The rows as this replica has understood them; the reconciler writes, others read."""

    assessed_rows: dict[str, AssessedRow] = field(default_factory=dict)
    loaded: bool = False
    stale_since: datetime | None = None
    stale_reason: str | None = None
    contact: Contact = field(default_factory=lambda: Contact(gap_s=_GAP_S))
    """When the database has answered the reconciler, on the monotonic clock."""
    changed: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    """Jobs whose row is to be read and adopted again, whether it looks changed or not."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def touch(self, job_ids: set[str]) -> None:
        """Tell the dispatcher that `job_ids` are not what they were."""
        self.changed |= job_ids
        self.news.set()

    def take_changed(self) -> set[str]:
        """What has changed since this was asked last."""
        changed, self.changed = self.changed, set()
        self.news.clear()
        return changed

    def job(self, job_id: str) -> Job | None:
        """The job of `job_id` with its code and schedule, suspended ones included."""
        assessed = self.assessed_rows.get(job_id)
        return None if assessed is None else assessed.job

    def scheduled(self, job_id: str) -> Job | None:
        """The job of `job_id` where it is to fire by itself."""
        assessed = self.assessed_rows.get(job_id)
        return assessed.job if assessed is not None and assessed.status is JobStatus.SCHEDULED else None
