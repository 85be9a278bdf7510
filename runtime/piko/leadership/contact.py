"""Whether this replica may judge the silence of others: pure. Instants are seconds of a monotonic clock.

Replicas hear of each other through the database alone. While that is away everybody is silent, and when it
returns each needs a moment to be heard again: so who was out of touch himself waits for as long.
"""

from __future__ import annotations


class Contact:
    """Since when the database has answered this replica without a break longer than `gap_s`."""

    def __init__(self, *, gap_s: float) -> None:
        self._gap_s = gap_s
        self._last: float | None = None
        self._since: float | None = float("-inf")

    @property
    def answered_at(self) -> float | None:
        """When it last answered."""
        return self._last

    def answered(self, now: float) -> None:
        """The database has answered."""
        if self._since is None or (self._last is not None and now - self._last > self._gap_s):
            self._since = now
        self._last = now

    def failed(self) -> None:
        """It has not."""
        self._since = None

    def unbroken_for(self, now: float) -> float:
        """Seconds; a replica that has just begun takes it that nothing was wrong before."""
        if self._since is None or (self._last is not None and now - self._last > self._gap_s):
            return 0.0
        return now - self._since
