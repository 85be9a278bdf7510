"""When each job is looked at next."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

_SLACK = 64
_AT_ONCE = timedelta(0)


class Timetable:
    """One instant per job; the earliest is found at once. A newer entry replaces the older one.

    What may be decided on before its instant is *early*: it is found as soon as its instant comes within a
    horizon.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[datetime, str]] = []
        self._come: list[tuple[int, datetime, str]] = []
        """What has come and was not taken yet: by falling priority, then by instant."""
        self._at: dict[str, datetime] = {}
        self._early: set[str] = set()
        self._early_heap: list[tuple[datetime, str]] = []
        """The early ones once more."""

    def put(self, job_id: str, at: datetime | None, *, early: bool = False) -> None:
        """Look at `job_id` at `at`, or `early` before that; None: not at all."""
        if at is None:
            self._at.pop(job_id, None)
        elif self._at.get(job_id) != at:
            self._at[job_id] = at
            entry = (at, job_id)  # in both heaps: there may be very many
            heapq.heappush(self._heap, entry)
            self._heap = self._without_slack(self._heap, self._at)
            if early:
                self._put_early(entry)
                return
        self._early.discard(job_id)
        if early:
            self.may_be_early(job_id)

    def may_be_early(self, job_id: str) -> None:
        """What kept the job from being decided on before its instant is over."""
        at = self._at.get(job_id)
        if at is not None and job_id not in self._early:
            self._put_early((at, job_id))

    def earliest(self, ahead: timedelta = _AT_ONCE) -> datetime | None:
        """When something is to be taken next, with early ones `ahead` of their instants.

        While something that has come was not taken, an instant that has come.
        """
        self._drop_replaced()
        first = [self._come[0][1]] if self._come else []
        if self._heap:
            first.append(self._heap[0][0])
        if self._early_heap:
            first.append(self._early_heap[0][0] - ahead)
        return min(first, default=None)

    def take_early(self, before: datetime, *, most: int, priority: Callable[[str], int]) -> list[str]:
        """Up to `most` early jobs whose instant comes by `before`; they leave the timetable.

        The earliest instant comes first, and of one instant the highest priority.
        """
        found: list[tuple[datetime, int, str]] = []
        while len(found) < most:
            self._drop_replaced()
            if not self._early_heap or self._early_heap[0][0] > before:
                break
            at, job_id = heapq.heappop(self._early_heap)
            self._early.discard(job_id)
            del self._at[job_id]
            found.append((at, -priority(job_id), job_id))
        return [job_id for _, _, job_id in sorted(found)]

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
                self._early.discard(job_id)
                taken.append(job_id)
        return taken

    def coming(self, before: datetime) -> set[str]:
        """Jobs that stay in the timetable and whose instant comes by `before`."""
        found: set[str] = set()
        places = [0] if self._heap else []
        while places:
            place = places.pop()
            at, job_id = self._heap[place]
            if at > before:
                continue  # what is below it in the heap comes no sooner
            if self._at.get(job_id) == at:
                found.add(job_id)
            places += range(2 * place + 1, min(2 * place + 3, len(self._heap)))
        return found

    def __len__(self) -> int:
        return len(self._at)

    def _drop_replaced(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        while self._come and self._at.get(self._come[0][2]) != self._come[0][1]:
            heapq.heappop(self._come)
        while self._early_heap and not self._is_early(*self._early_heap[0]):
            heapq.heappop(self._early_heap)

    def _put_early(self, entry: tuple[datetime, str]) -> None:
        self._early.add(entry[1])
        heapq.heappush(self._early_heap, entry)
        self._early_heap = self._without_slack(self._early_heap, self._early)

    def _is_early(self, at: datetime, job_id: str) -> bool:
        return job_id in self._early and self._at.get(job_id) == at

    def _without_slack(
        self, heap: list[tuple[datetime, str]], job_ids: Collection[str]
    ) -> list[tuple[datetime, str]]:
        """`heap`, without what was replaced if that is most of it: the instants of `job_ids`."""
        if len(heap) <= 2 * len(job_ids) + _SLACK:
            return heap
        heap = [(self._at[job_id], job_id) for job_id in job_ids if job_id in self._at]
        heapq.heapify(heap)
        return heap
