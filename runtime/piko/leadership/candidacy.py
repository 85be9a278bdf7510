"""The state of one candidate: pure. Instants are seconds of a monotonic clock.

Three standings:

- `FOLLOWER`: another replica leads, or nobody does yet.
- `LEADER`: the lease is ours and was renewed in time.
- `SUSPENDED`: it was ours, but could not be renewed in time. Nothing new is claimed. Handlers go on: if
  nobody took over meanwhile, the next renewal succeeds under the same epoch and all goes on as it was;
  else this replica has been deposed, and the fence refuses what it would still write.

The deadline is counted from before a renewal was asked for, so it is never later than what others go by.
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
    """Told of every answer, says where the candidate stands, and when to ask again."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._deadline = 0.0
        self._unheard_since: float | None = None
        self._patient_until = float("-inf")
        self.standing = Standing.FOLLOWER
        self.fence: Fence | None = None

    def acting(self, now: float) -> Fence | None:
        """The fence to claim under; None where this candidate must not claim."""
        return self.fence if self.standing is Standing.LEADER and now < self._deadline else None

    def blind_for(self, now: float) -> float:
        """How long a follower has not seen who leads, where that is longer than a lease lasts; else 0.

        It could not take over.
        """
        if self.fence is not None or self._unheard_since is None:
            return 0.0
        silent_s = now - self._unheard_since
        return silent_s if silent_s >= self._terms.valid_s else 0.0

    def patient(self, now: float) -> bool:
        """Whether a lease that has expired is to be left to its holder for the time of a renewal.

        Who could not read the lease cannot know that its holder was able to renew it: the silence was the
        database's. A holder that lives renews as soon as there is an answer.
        """
        return self._unheard_since is not None or now < self._patient_until

    # ---- answers ----------------------------------------------------------------------------------

    def heard(self, now: float) -> bool:
        """There was an answer, whatever it was; whether it is the first after there was none."""
        first, self._unheard_since = self._unheard_since is not None, None
        if first:
            self._patient_until = now + max(self._terms.renew_every_s, _ENOUGH_S)
        return first

    def unheard(self, *, asked_at: float) -> bool:
        """There was no answer; whether it is the first time."""
        first = self._unheard_since is None
        if first:
            self._unheard_since = asked_at
        return first

    def won(self, fence: Fence, *, asked_at: float) -> None:
        """The lease is ours, under a new epoch."""
        self.fence = fence
        self._deadline = asked_at + self._terms.valid_s
        self.standing = Standing.LEADER

    def renewed(self, *, asked_at: float) -> None:
        """The lease is ours still."""
        self._deadline = asked_at + self._terms.valid_s
        self.standing = Standing.LEADER

    def unanswered(self, now: float) -> None:
        """A renewal failed: whether the lease is ours still is not known."""
        if self.standing is Standing.LEADER and now >= self._deadline:
            self.standing = Standing.SUSPENDED

    def lost(self) -> None:
        """Another replica leads, or this one gave the lease up."""
        self.fence = None
        self.standing = Standing.FOLLOWER

    # ---- when -------------------------------------------------------------------------------------

    def patience(self, now: float) -> float:
        """How long a question may take: so that another comes in time, and the deadline is noticed.

        Half of what is left, as a database that is slow needs several round trips for a new connection and
        its transaction: an impatient leader would begin that again and again, and never get through.
        """
        if self.fence is None:
            return self._terms.valid_s
        left = self._deadline - now
        if left <= 0:
            return max(self._terms.valid_s / 2, _ENOUGH_S)
        return min(max(left / 2, _ENOUGH_S), max(left, SOON_S))

    def pause(self, now: float) -> float:
        """How long to wait before the next question."""
        if self.fence is None:
            unheard = self._unheard_since is not None
            return max(self._terms.look_every_s, _UNHEARD_S) if unheard else self._terms.look_every_s
        left = self._deadline - now
        healthy = left > self._terms.valid_s - self._terms.renew_every_s
        pause = self._terms.renew_every_s if healthy else min(1.0, self._terms.renew_every_s / 5)
        return min(pause, max(left, SOON_S)) if left > 0 else pause
