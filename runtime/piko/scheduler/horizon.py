"""How long before its due time a run is claimed, so that it can start at its instant.

The horizon follows what a round of the leader's loop takes, of late: when an instant comes within it, one
round may be under way, and the next one makes the claim. What the instance's start mark needs comes on top.
It stays below `poll_interval_s` as long as two rounds do: within that an edit is seen. Where the database is
so slow that two rounds take longer, no edit is seen sooner either, and being on time counts.

Before the first round of a term, what one question takes says what a round will.
"""

from __future__ import annotations

from datetime import timedelta

from piko.background.latency import RecentLatency
from piko.clock import Clock

_LEAST_S, _LONGEST_S = 0.2, 30.0
_ROUNDS = 2
_QUESTIONS = 10
"""What a round asks the database, one question after the other: a look, and the statements of a claim."""


class Horizon:
    """The horizon of one replica's claims."""

    def __init__(self, *, poll_interval_s: float, clock: Clock) -> None:
        self._poll_interval_s = poll_interval_s
        self._round = RecentLatency(clock)

    def answered_in(self, seconds: float) -> None:
        """So long has one question taken, before the first round."""
        self.took(_QUESTIONS * seconds)

    def took(self, seconds: float) -> None:
        """A round of the leader's loop has taken so long."""
        self._round.note(min(seconds, _LONGEST_S))

    def ahead(self, *, start_lead_s: float) -> timedelta:
        """How long before its due time a run is claimed now.

        `start_lead_s`: the seconds from the end of its claim that its start needs.
        """
        rounds_s = _ROUNDS * self._round.seconds
        needed_s = rounds_s + start_lead_s
        bound_s = needed_s if rounds_s > self._poll_interval_s else self._poll_interval_s
        return timedelta(seconds=min(max(needed_s, _LEAST_S), bound_s, _LONGEST_S))
