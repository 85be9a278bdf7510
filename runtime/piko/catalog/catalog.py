"""What this replica knows of the rows, how fresh that is, and which of it is new."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime

from piko.background.waiting import happens
from piko.catalog.assessed_rows import AssessedRows
from piko.catalog.edited_ids import EditedIds
from piko.leadership.contact import Contact

_GAP_S = 3.0


@dataclass(slots=True)
class Catalog:
    """The rows as this replica has understood them; the reconciler writes, others read."""

    assessed_rows: AssessedRows = field(default_factory=AssessedRows)
    loaded: bool = False
    read_at: float | None = None
    """When the last whole look at the rows began, on the monotonic clock: older rows are all known."""
    stale_since: datetime | None = None
    stale_reason: str | None = None
    contact: Contact = field(default_factory=lambda: Contact(gap_s=_GAP_S))
    """When the database has answered the reconciler, on the monotonic clock."""
    changed: set[str] = field(default_factory=set)
    doubted: set[str] = field(default_factory=set)
    """Jobs whose row is to be read and taken in again, whether it looks changed or not."""
    edited_schedules: EditedIds = field(default_factory=EditedIds)
    edited_configs: EditedIds = field(default_factory=EditedIds)
    """Jobs whose rows people, or the operator, have written."""
    nearer: EditedIds = field(default_factory=EditedIds)
    """Jobs whose data may be late sooner than their rows have said before."""
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def touch(self, job_ids: set[str]) -> None:
        """Notify the scheduler that `job_ids` have changed."""
        self.changed |= job_ids
        self.news.set()

    def take_changed(self) -> set[str]:
        """What has changed since this was asked last."""
        changed, self.changed = self.changed, set()
        self.news.clear()
        return changed

    async def wait(self, *, within_s: float) -> None:
        """Wait for news of rows or runs, `within_s` seconds at most."""
        await happens(self.news.wait(), within_s=within_s)
        self.news.clear()
