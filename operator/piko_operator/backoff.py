"""When what failed is tried again: after a pause that doubles, for each resource by itself."""

from __future__ import annotations

from piko.clock import Clock

_EXPONENT = 16


class ResourceBackoff:
    """Counts failures by uid; pauses are seconds."""

    def __init__(self, *, clock: Clock, first_s: float, longest_s: float) -> None:
        self._clock = clock
        self._first_s = first_s
        self._longest_s = longest_s
        self._failures: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def failed(self, uid: str) -> float:
        """Count a failure; how long to wait now."""
        failures = self._failures.get(uid, 0)
        self._failures[uid] = failures + 1
        pause = min(self._longest_s, self._first_s * 2.0 ** min(failures, _EXPONENT))
        self._until[uid] = self._clock.monotonic() + pause
        return pause

    def failures(self, uid: str) -> int:
        """Failures since the last success."""
        return self._failures.get(uid, 0)

    def is_waiting(self, uid: str) -> bool:
        """Whether the pause of the last failure is not over yet."""
        return self._clock.monotonic() < self._until.get(uid, 0.0)

    def succeeded(self, uid: str) -> None:
        self._failures.pop(uid, None)
        self._until.pop(uid, None)

    def uids(self) -> list[str]:
        """Those that failed last."""
        return list(self._failures)
