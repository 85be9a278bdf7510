"""How long to leave a database alone after a look at it: pure.

A look that takes long says that the database is large, or busy. So a part that looks again and again rests in
proportion to what its last look took: it takes a bounded share of the database, whatever that holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """Rests `times` as long as what went before, at least `least_s` and at most `longest_s` seconds."""

    times: float
    least_s: float = 0.0
    longest_s: float = math.inf

    def after_s(self, took_s: float) -> float:
        """How long to rest after something that took `took_s` seconds."""
        return min(max(self.least_s, self.times * took_s), self.longest_s)
