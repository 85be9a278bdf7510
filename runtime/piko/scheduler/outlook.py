"""What the leader sees of runs that are not in its hands: what waits, what ends elsewhere, what is lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from piko.clock import Clock
from piko.core.types import FINAL_STATES, RunState
from piko.model.runs import Run
from piko.scheduler.backfiller import Backfiller, split
from piko.scheduler.orphans import Orphans
from piko.scheduler.term import Term
from piko.scheduler.writes import Insist
from piko.store.runs import RunStore

_QUEUED = 1000
"""Waiting runs that are looked at together."""
_ELSEWHERE_S, _CHAIN_S = 0.2, 0.02
"""How often it is looked for ends that other replicas record; and where the next window waits for one."""
_REST = 4
"""Where looking takes long, as the machine or the database is busy, it is left alone for so much longer."""
_CANCELLED = "its backfill was cancelled"


class End(Protocol):
    """Ends a run; `state` is how, where no handler here will end it."""

    def __call__(self, term: Term, run: Run, state: RunState, why: str) -> None: ...


class Outlook:
    """Looks at each in its own time. `here`: runs that this replica runs or has yet to record."""

    def __init__(
        self,
        *,
        runs: RunStore,
        backfiller: Backfiller,
        lost: Orphans,
        insist: Insist,
        cancel: Callable[[Term, str, str], None],
        end: End,
        running_here: Callable[[], set[str]],
        here: Callable[[], set[str]],
        clock: Clock,
        heartbeat_interval_s: float,
        poll_interval_s: float,
        offers: bool,
    ) -> None:
        self._runs = runs
        self._backfiller = backfiller
        self._lost = lost
        self._insist = insist
        self._cancel = cancel
        self._end = end
        self._running_here = running_here
        self._here = here
        self._clock = clock
        self._heartbeat_interval_s = heartbeat_interval_s
        self._poll_interval_s = poll_interval_s
        self._offers = offers
        self._term_began = 0.0
        self._took_s = 0.0
        self._at_queue = self._for_lost = self._elsewhere = float("-inf")

    def begin(self) -> None:
        """A term begins."""
        self._term_began = self._clock.monotonic()
        self._at_queue = self._for_lost = self._elsewhere = float("-inf")

    async def look(self, term: Term) -> bool:
        """Look at what is due to be looked at; whether that was the queue. Raises `FencedError`."""
        moment = self._clock.monotonic()
        if moment - self._for_lost >= self._heartbeat_interval_s:
            await self._recover(term)
            self._for_lost = moment
        if moment - self._elsewhere >= self.elsewhere_every_s(term):
            await self._look_elsewhere(term)
            self._elsewhere = self._clock.monotonic()
            self._took_s = self._elsewhere - moment
        if moment - self._at_queue < self._poll_interval_s:
            return False
        await self._look_at_queue(term)
        self._at_queue = moment
        return True

    def elsewhere_every_s(self, term: Term) -> float:
        """How often it is to be looked for ends elsewhere."""
        if not term.awaits_chain(without=self._running_here()):
            return _ELSEWHERE_S
        return min(max(_CHAIN_S, _REST * self._took_s), _ELSEWHERE_S)

    async def queued(self) -> list[Run]:
        """What waits for the leader's word."""
        return await self._runs.queued(limit=_QUEUED, offered=not self._offers)

    async def _look_at_queue(self, term: Term) -> None:
        """Take in what waits in the database, and let go of what no longer does."""
        backfills = self._backfiller.progress
        waited, waited_in_backfills = set(term.progress.waiting), set(backfills.waiting)
        queued = await self._insist(term.fence, self.queued)
        live, of_backfills = split(queued)
        term.progress.enqueue(live)
        backfills.enqueue(of_backfills)
        if len(queued) < _QUEUED:
            there = {run.run_id for run in queued}
            term.gone(waited - there, self._clock.now())
            self._backfiller.account.gone(waited_in_backfills - there)
        for run in await self._backfiller.look():
            if run.run_id in backfills.waiting:
                self._end(term, run, RunState.CANCELLED, _CANCELLED)
            else:
                self._cancel(term, run.run_id, _CANCELLED)

    async def _look_elsewhere(self, term: Term) -> None:
        """Take in the ends of runs that other replicas record."""
        backfills = self._backfiller.account
        held, of_backfills = term.held_elsewhere_ids(), set(backfills.elsewhere)
        if not held and not of_backfills:
            return
        found = await self._insist(term.fence, lambda: self._runs.progress(held | of_backfills))
        for run_id in held & found.keys():
            term.telling.elsewhere(found[run_id])
        in_progress = {run_id for run_id, run in found.items() if run.state not in FINAL_STATES}
        if held <= in_progress and of_backfills <= in_progress:
            return
        await self._look_at_queue(term)  # first: retries that came of it keep their jobs busy
        ended = {run_id: found[run_id].state if run_id in found else None for run_id in held - in_progress}
        term.ended_elsewhere(ended, self._clock.now())
        backfills.gone(of_backfills - in_progress)

    async def _recover(self, term: Term) -> None:
        """Give up runs that nobody will end."""
        found = await self._insist(
            term.fence,
            lambda: self._lost.look(
                epoch=term.fence.epoch,
                leads_for_s=self._clock.monotonic() - self._term_began,
                known=self._here,
            ),
        )
        live, backfills = split(found.runs)
        term.held_elsewhere(live)
        self._backfiller.account.hold(backfills)
        for run, reason in found.lost:
            self._end(term, run, RunState.LOST, reason)
