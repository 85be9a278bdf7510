"""When each job is looked at next."""

from __future__ import annotations

import heapq
from datetime import datetime

_SLACK = 64


class Timetable:
    """One instant per job; the earliest is found at once. A newer entry replaces the older one."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._at: dict[str, datetime] = {}

    def put(self, job_id: str, at: datetime | None) -> None:
        """Look at `job_id` at `at`; None: not at all."""
        if at is None:
            self._at.pop(job_id, None)
        elif self._at.get(job_id) != at:
            self._at[job_id] = at
            heapq.heappush(self._heap, (at, job_id))
            if len(self._heap) > 2 * len(self._at) + _SLACK:
                self._heap = [(at, job_id) for job_id, at in self._at.items()]
                heapq.heapify(self._heap)

    def earliest(self) -> datetime | None:
        self._drop_replaced()
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: datetime) -> list[str]:
        """The jobs whose instant has come, earliest first; they leave the timetable."""
        due = []
        while (at := self.earliest()) is not None and at <= now:
            _, job_id = heapq.heappop(self._heap)
            del self._at[job_id]
            due.append(job_id)
        return due

    def __len__(self) -> int:
        return len(self._at)

    def _drop_replaced(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
