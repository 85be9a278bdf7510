"""When a resource is to be looked at although nothing of it changes: at its next deadline, for instance."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from piko.clock import Clock

_MARGIN_S = 0.02
"""A timer may fire a little early; a look before the instant would find nothing."""
_LONGEST_S = 3600.0
"""The wall clock may be set meanwhile."""


class Wakes:
    """One timer for each resource, at most; a new one takes the place of the one before."""

    def __init__(self, *, look: Callable[..., None], clock: Clock) -> None:
        self._look = look
        self._clock = clock
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def at(self, uid: str, instant: datetime | None) -> None:
        """Look at `instant`, or within an hour; None: not at all."""
        self.forget(uid)
        if instant is not None:
            self.within(uid, (instant - self._clock.now()).total_seconds())

    def within(self, uid: str, seconds: float) -> None:
        """Look in so many seconds, or within an hour."""
        self.forget(uid)
        pause_s = min(max(seconds, 0.0) + _MARGIN_S, _LONGEST_S)
        self._timers[uid] = asyncio.get_running_loop().call_later(pause_s, self._wake, uid)

    def forget(self, uid: str) -> None:
        """No longer look by itself."""
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()

    def _wake(self, uid: str) -> None:
        self._timers.pop(uid, None)
        self._look(uid)
