"""What is to be announced to one recipient, found page by page.

Nothing waits in a queue: what is to be announced follows from the rows each time, and a look takes up a
bounded number of jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from itertools import islice

from piko.clock import Clock
from piko.decisions.announcing import Announced, Announcing, to_announce
from piko.store.announcements import AnnouncementStore

_MOST = 200
"""Jobs that one look takes up."""

InTrouble = Callable[[datetime], Collection[str]]
"""The jobs that are late or fail at an instant, as far as is known."""


class AnnouncingPages:
    """Looks at the next jobs in trouble, and at those that were; `timezone`: of schedules that name none."""

    def __init__(
        self, *, store: AnnouncementStore, in_trouble: InTrouble, clock: Clock, timezone: str
    ) -> None:
        self._store = store
        self._in_trouble = in_trouble
        self._clock = clock
        self._timezone = timezone
        self._after = ""

    async def next(self) -> list[Announcing]:
        """What is to be announced of the next jobs. Raises `DatabaseUnavailableError`."""
        announced: Announced = {(row.job_id, row.kind): row.since for row in await self._store.read_all()}
        now = self._clock.now()
        job_ids = self._concerned(announced, now)
        jobs = await self._store.progress(job_ids)
        return [
            item
            for job_id in job_ids
            for item in to_announce(job_id, jobs.get(job_id), announced, now=now, timezone=self._timezone)
        ]

    def _concerned(self, announced: Announced, now: datetime) -> list[str]:
        """The next jobs to look at: those in trouble, and those of which something was announced."""
        every = sorted({*self._in_trouble(now), *(job_id for job_id, _ in announced)})
        page = list(islice((job_id for job_id in every if job_id > self._after), _MOST))
        self._after = page[-1] if len(page) == _MOST else ""
        return page
