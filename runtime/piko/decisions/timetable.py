"""When each job is looked at next."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime

_SLACK = 64


class Timetable:
    """One instant per job; the earliest is found at once. A newer entry replaces the older one."""

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._come: list[tuple[int, datetime, str]] = []
        """What has come and was not taken yet: by falling priority, then by instant."""
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
        """The earliest instant; while something that has come was not taken, one that has come."""
        self._drop_replaced()
        first = [self._come[0][1]] if self._come else []
        if self._heap:
            first.append(self._heap[0][0])
        return min(first, default=None)

    def take_due(self, now: datetime, *, most: int, priority: Callable[[str], int]) -> list[str]:
        """Up to `most` jobs whose instant has come; they leave the timetable.

        The highest priority comes first, then the earliest instant.
        """
        while self._heap and self._heap[0][0] <= now:
            at, job_id = heapq.heappop(self._heap)
            if self._at.get(job_id) == at:
                heapq.heappush(self._come, (-priority(job_id), at, job_id))
        taken: list[str] = []
        while self._come and len(taken) < most:
            _, at, job_id = heapq.heappop(self._come)
            if self._at.get(job_id) == at:
                del self._at[job_id]
                taken.append(job_id)
        return taken

    def __len__(self) -> int:
        return len(self._at)

    def _drop_replaced(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        while self._come and self._at.get(self._come[0][2]) != self._come[0][1]:
            heapq.heappop(self._come)
