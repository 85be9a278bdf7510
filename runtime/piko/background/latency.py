"""How long something takes, as far as the last time counts: what is to be early enough has to know."""

from __future__ import annotations

from piko.clock import Clock

_HALF_LIFE_S = 10.0


class RecentLatency:
    """The longest of late, in seconds; what was long ago counts less and less."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._longest_s = 0.0
        self._noted_at = clock.monotonic()

    @property
    def seconds(self) -> float:
        age_s = self._clock.monotonic() - self._noted_at
        return float(self._longest_s * 0.5 ** (age_s / _HALF_LIFE_S))

    def note(self, took_s: float) -> None:
        """It has taken so many seconds just now."""
        longest_s = max(took_s, self.seconds)
        self._longest_s, self._noted_at = longest_s, self._clock.monotonic()
