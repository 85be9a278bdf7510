"""What waits in the database for the leader: queued runs, and backfills that are open."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from piko.clock import Clock
from piko.decisions.events import QueueRead
from piko.model.backfills import Backfill
from piko.model.runs import Run
from piko.scheduler.insistence import Insistence
from piko.store.backfills import BackfillStore
from piko.store.runs import RunStore

_MOST = 1000
"""Waiting runs that are looked at together."""


class Queue:
    """Reads it, in one term. `offers`: what is offered to every replica waits for the leader no longer."""

    def __init__(
        self, *, insist: Insistence, runs: RunStore, backfills: BackfillStore, clock: Clock, offers: bool
    ) -> None:
        self._insist = insist
        self._runs = runs
        self._backfills = backfills
        self._clock = clock
        self._offers = offers

    async def queued(self) -> Sequence[Run]:
        """Runs that wait, at most as many as are looked at together. Raises `FencedError`."""
        return await self._insist(lambda: self._runs.queued(limit=_MOST, offered=not self._offers))

    async def backfills(self) -> Sequence[Backfill]:
        """Backfills that are open. Raises `FencedError`."""
        return await self._insist(self._backfills.open)

    async def read(self, *, asked: Collection[str]) -> QueueRead:
        """Both; `asked`: the runs that are known to wait. Raises `FencedError`."""
        runs = await self.queued()
        backfills = await self.backfills()
        return QueueRead(
            asked=asked, runs=runs, complete=len(runs) < _MOST, backfills=backfills, now=self._clock.now()
        )
