"""When which status is written: pure. Instants and durations are seconds of a monotonic clock.

Every status patch is stored by etcd until the next compaction and sent to every watcher, so patches have a
budget. What a person or a tool waits for is urgent and is written as soon as the budget allows. The progress
of runs is not: it is written at most once in `GAP_S` for each object, and takes a fifth of the budget at
most.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Any

from piko.core.types import FAILED_STATES

GAP_S = 10.0
"""The shortest time between two writes for one object, unless the second is urgent."""
_SHARE = 0.2
_STATES = ("observedGeneration", "schedule", "row", "revision", "paused", "lastHandledReconcileAt")
_BURST_S = 1.0


class WriteBudget:
    """A bucket of tokens: `rate` each second, and at most one second's worth of them."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate * _BURST_S)
        self._left = self._most
        self._at: float | None = None

    def wait_s(self, now: float) -> float:
        """Seconds until there is a token."""
        if self._at is not None:
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, (1.0 - self._left) / self._rate)

    def take(self) -> None:
        self._left -= 1.0


class Pacing:
    """Which object is written next."""

    def __init__(self, *, writes_per_s: float) -> None:
        self._all = WriteBudget(writes_per_s)
        self._routine = WriteBudget(writes_per_s * _SHARE)
        self._urgent: dict[str, None] = {}
        self._due: list[tuple[float, str]] = []
        self._due_at: dict[str, float] = {}
        self._written_at: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._urgent) + len(self._due_at)

    def want(self, uid: str, *, urgent: bool, now: float) -> None:
        """Have the object written; an urgent wish is not made less so by a later one."""
        if uid in self._urgent:
            return
        if urgent:
            self._due_at.pop(uid, None)
            self._urgent[uid] = None
        elif uid not in self._due_at:
            self._due_at[uid] = max(now, self._written_at.get(uid, float("-inf")) + GAP_S)
            heapq.heappush(self._due, (self._due_at[uid], uid))

    def drop(self, uid: str) -> None:
        """No longer write the object."""
        self._urgent.pop(uid, None)
        self._due_at.pop(uid, None)

    def forget(self, uid: str) -> None:
        """Drop all that is known of a deleted object."""
        self.drop(uid)
        self._written_at.pop(uid, None)

    def next(self, now: float) -> tuple[str | None, float | None]:
        """The object to write now; or None, and the seconds until there may be one (None: unknown)."""
        self._skip_dropped()
        if not self._urgent and not self._due:
            return None, None
        if (wait_s := self._all.wait_s(now)) > 0:
            return None, wait_s
        if self._urgent:
            uid = next(iter(self._urgent))
            del self._urgent[uid]
        else:
            wait_s = max(self._due[0][0] - now, self._routine.wait_s(now))
            if wait_s > 0:
                return None, wait_s
            _, uid = heapq.heappop(self._due)
            del self._due_at[uid]
            self._routine.take()
        self._all.take()
        self._written_at[uid] = now
        return uid, None

    def _skip_dropped(self) -> None:
        while self._due and self._due_at.get(self._due[0][1]) != self._due[0][0]:
            heapq.heappop(self._due)


def is_urgent(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the change of a status is worth a write at once: a change of state, or a failure."""
    return _state(before) != _state(after) or _failure(before) != _failure(after)


def _state(status: Mapping[str, Any]) -> object:
    conditions = status.get("conditions")
    return (
        {
            (item.get("type"), item.get("status"), item.get("reason"))
            for item in (conditions if isinstance(conditions, list) else ())
        },
        {name: status.get(name) for name in _STATES},
        status.get("effectiveRevision"),
        (status.get("lastRun") or {}).get("state"),
        bool(status.get("consecutiveFailures")),
        (status.get("trigger") or {}).get("value"),
    )


def _failure(status: Mapping[str, Any]) -> object:
    last = status.get("lastRun") or {}
    return last.get("runId") if last.get("state") in FAILED_STATES else None
