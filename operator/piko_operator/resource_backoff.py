"""When a failed resource is tried again: after a pause that doubles, for each resource separately."""

from __future__ import annotations

from piko.background.backoff import Backoff
from piko.clock import Clock


class ResourceBackoff:
    """Counts failures by uid; pauses are seconds."""

    def __init__(self, *, clock: Clock, backoff: Backoff) -> None:
        self._clock = clock
        self._backoff = backoff
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def failed(self, uid: str) -> float:
        """Count a failure; returns the seconds to wait."""
        failures = self._failures[uid] = self._failures.get(uid, 0) + 1
        pause = self._backoff.pause_s(failures)
        self._until[uid] = self._clock.monotonic() + pause
        return pause

    def failures(self, uid: str) -> int:
        """Failures since the last success."""
        return self._failures.get(uid, 0)

    def is_waiting(self, uid: str) -> bool:
        """Whether the pause after the last failure is still running."""
        return self._clock.monotonic() < self._until.get(uid, 0.0)

    def succeeded(self, uid: str) -> None:
        self._failures.pop(uid, None)
        self._until.pop(uid, None)

    def uids(self) -> list[str]:
        """Resources that have failed since their last success."""
        return list(self._failures)
