"""How long to pause after a failure: pure."""

from __future__ import annotations

from dataclasses import dataclass

_EXPONENT = 30
"""Pauses double no further: by then any has reached its bound, and a float goes on fitting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Pauses in seconds, each twice the one before: from `first_s` up to `longest_s`."""

    first_s: float
    longest_s: float

    @classmethod
    def steady(cls, pause_s: float) -> Backoff:
        """The same pause after every failure."""
        return cls(first_s=pause_s, longest_s=pause_s)

    def pause_s(self, failures: int) -> float:
        """How long to pause after `failures` in a row, at least one."""
        return min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, _EXPONENT))
