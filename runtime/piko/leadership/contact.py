"""Whether this replica may judge the silence of others: pure. Instants are seconds of a monotonic clock.

Replicas learn of each other only through the database. While it is unavailable every replica is silent, and
when it returns each needs a moment to write a heartbeat. So a replica that was out of contact itself waits
for that long.
"""

from __future__ import annotations


class Contact:
    """Tracks since when the database has answered this replica without a gap longer than `gap_s`."""

    def __init__(self, *, gap_s: float) -> None:
        self._gap_s = gap_s
        self._last: float | None = None
        self._since: float | None = float("-inf")

    @property
    def answered_at(self) -> float | None:
        """When it last answered."""
        return self._last

    def answered(self, now: float) -> None:
        """Note that the database has answered."""
        if self._since is None or (self._last is not None and now - self._last > self._gap_s):
            self._since = now
        self._last = now

    def failed(self) -> None:
        """Note that the database has not answered."""
        self._since = None

    def unbroken_for(self, now: float) -> float:
        """Seconds of unbroken contact; infinite for a replica that has just started."""
        if self._since is None or (self._last is not None and now - self._last > self._gap_s):
            return 0.0
        return now - self._since
