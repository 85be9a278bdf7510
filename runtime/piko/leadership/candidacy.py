"""The state of one candidate: pure. Instants are seconds of a monotonic clock.

There are three standings:

- `FOLLOWER`: another replica leads, or none does yet.
- `LEADER`: this replica holds the lease and has renewed it in time.
- `SUSPENDED`: this replica held the lease but could not renew it in time. It claims nothing new, and its
  handlers continue. If no other replica has taken over, the next renewal succeeds under the same epoch and
  work continues; otherwise this replica has been deposed, and the fence refuses its further writes.

The deadline counts from before a renewal was requested, so it is never later than the expiry that others see.
"""

from __future__ import annotations

from enum import StrEnum

from piko.leadership.lease import Terms
from piko.model.fences import Fence

SOON_S = 0.05
_ENOUGH_S = 1.0
_UNHEARD_S = 1.0


class Standing(StrEnum):
    FOLLOWER = "standby"
    LEADER = "leader"
    SUSPENDED = "suspended"


class Candidacy:
    """Receives the result of every request, and decides the standing and the time of the next request."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._deadline = 0.0
        self._unheard_since: float | None = None
        self._patient_until = float("-inf")
        self._doubted_at: float | None = None
        self.standing = Standing.FOLLOWER
        self.fence: Fence | None = None

    def acting(self, now: float) -> Fence | None:
        """The fence to claim under; None if this candidate must not claim."""
        return self.fence if self.standing is Standing.LEADER and now < self._deadline else None

    @property
    def in_doubt(self) -> bool:
        """Whether another replica may have taken the lease over since the last renewal that was asked for."""
        return self.standing is Standing.LEADER and self._doubted_at is not None

    def blind_for(self, now: float) -> float:
        """Seconds that a follower could not read the lease, if longer than a lease lasts; otherwise 0.

        Such a follower could not take over.
        """
        if self.fence is not None or self._unheard_since is None:
            return 0.0
        silent_s = now - self._unheard_since
        return silent_s if silent_s >= self._terms.valid_s else 0.0

    def patient(self, now: float) -> bool:
        """Whether to leave an expired lease to its holder for the time of one renewal.

        While the database did not answer, the holder could not renew either, so the lease has expired without
        proof that the holder is dead. A live holder renews as soon as the database answers.
        """
        return self._unheard_since is not None or now < self._patient_until

    # ---- answers ----------------------------------------------------------------------------------

    def heard(self, now: float) -> bool:
        """Note an answer of any kind; returns whether it is the first after a silence."""
        first, self._unheard_since = self._unheard_since is not None, None
        if first:
            self._patient_until = now + max(self._terms.renew_every_s, _ENOUGH_S)
        return first

    def unheard(self, *, asked_at: float) -> bool:
        """Note that there was no answer; returns whether this is the first time."""
        first = self._unheard_since is None
        if first:
            self._unheard_since = asked_at
        return first

    def won(self, fence: Fence, *, asked_at: float) -> None:
        """This replica has acquired the lease, under a new epoch."""
        self.fence = fence
        self.renewed(asked_at=asked_at)

    def renewed(self, *, asked_at: float) -> None:
        """This replica has renewed the lease."""
        self._deadline = asked_at + self._terms.valid_s
        self.standing = Standing.LEADER
        if self._doubted_at is not None and asked_at >= self._doubted_at:
            self._doubted_at = None

    def doubted(self, now: float) -> None:
        """The others may have seen this replica end, and need not wait until its lease expires."""
        self._doubted_at = now

    def unanswered(self, now: float) -> None:
        """A renewal failed, so it is unknown whether this replica still holds the lease."""
        if self.standing is Standing.LEADER and now >= self._deadline:
            self.standing = Standing.SUSPENDED

    def lost(self) -> None:
        """Another replica leads, or this one released the lease."""
        self.fence = None
        self.standing = Standing.FOLLOWER

    # ---- when -------------------------------------------------------------------------------------

    def patience(self, now: float) -> float:
        """Seconds that a request may take, so that another one fits before the deadline.

        Half of the remaining time, because a slow database needs several round trips for a new connection and
        its transaction: with a short limit, a leader would start over again and again and never succeed.
        """
        if self.fence is None:
            return self._terms.valid_s
        left = self._deadline - now
        if left <= 0:
            return max(self._terms.valid_s / 2, _ENOUGH_S)
        return min(max(left / 2, _ENOUGH_S), max(left, SOON_S))

    def pause(self, now: float) -> float:
        """Seconds to wait before the next request."""
        if self.fence is None:
            unheard = self._unheard_since is not None
            return max(self._terms.look_every_s, _UNHEARD_S) if unheard else self._terms.look_every_s
        left = self._deadline - now
        healthy = not self.in_doubt and left > self._terms.valid_s - self._terms.renew_every_s
        pause = self._terms.renew_every_s if healthy else min(1.0, self._terms.renew_every_s / 5)
        return min(pause, max(left, SOON_S)) if left > 0 else pause
