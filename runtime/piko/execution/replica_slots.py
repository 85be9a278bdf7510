"""The slots of one replica where every replica runs what is due: `executor = "replicas"`.

Three take from them: what runs, what the leader in this process is about to start here, and what is being
fetched. A leader keeps its share of what it claims: such a run is written once before it begins, where one
that is offered is written, fetched, and looked for until it has ended.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection
from datetime import datetime

_FEWEST = 3
"""Fewer runs are not worth sharing."""
_SOME = 50
"""A fiftieth of all slots is fetched for together, where more runs wait than there are slots."""


class ReplicaSlots:
    """How many more runs may begin here, and which of those that are claimed do.

    - `most`: runs in progress at once.
    - `running`: how many are in progress.
    - `full`: whether the end of one more could not be kept.
    - `claiming`: runs whose claim is under way, and that begin here when it is through.
    """

    def __init__(
        self,
        *,
        most: int,
        running: Callable[[], int],
        full: Callable[[], bool],
        claiming: Collection[str],
    ) -> None:
        self._most = most
        self._running = running
        self._full = full
        self._claiming = claiming
        self._planned_at: datetime | None = None
        self._few = 0
        self._left = 0
        self._claimed = 0
        self._kept = 0
        self._kept_lately = 0
        self.fetching = 0
        """Runs that are being fetched, or are fetched and have not begun."""
        self.replicas = 1
        """How many live, as far as is known."""
        self.short = False
        """Whether more waited at the last look than there were slots for."""
        self.behind = False
        """Whether the leader in this process has more to claim than it gets done."""
        self.wanted = asyncio.Event()
        """Set when there may be something for this replica to fetch."""

    @property
    def free(self) -> int:
        """How many more runs may begin here."""
        return 0 if self._full() else max(self._most - self._taken, 0)

    @property
    def _taken(self) -> int:
        return self._running() + len(self._claiming) + self.fetching

    @property
    def idle(self) -> bool:
        """Whether nothing runs here, and the end of one more could be kept."""
        return not self._running() and not self._full()

    def keeps(self, now: datetime) -> bool:
        """Whether one more run, of those that are claimed together at `now`, begins in this process.

        While few are in progress here, all do; a run that takes long therefore keeps no other from another
        replica. What waits for slots was offered before, and goes first; and where the leader has more to
        claim than it gets done, others are to run it.
        """
        if now != self._planned_at:
            self._planned_at, self._claimed, self._kept = now, 0, 0
            self._left, self._few = self.free, _FEWEST - self._taken
        self._claimed += 1
        share = max(self._claimed // self.replicas, self._few)
        outdone = self.behind and self.replicas > 1
        if self.short or outdone or self._kept >= min(share, self._left):
            return False
        self._kept += 1
        self._kept_lately += 1
        return True

    def share_of(self, waiting: int) -> int:
        """How many of the runs that wait to be fetched are this replica's.

        What a leader has kept since it last asked counts as fetched: the others come first.
        """
        kept, self._kept_lately = self._kept_lately, 0
        share = math.ceil((waiting + kept) / self.replicas) - kept
        return max(share, 0 if kept else _FEWEST)

    def ended(self) -> None:
        """A run has ended here: where others wait for slots, fetch as soon as there are some."""
        if self.short and self.free * _SOME >= self._most:
            self.wanted.set()
