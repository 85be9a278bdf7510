"""Open backfills to claimed runs: the shell around a `BackfillAccount`, a part of the dispatcher's loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from piko.clock import Clock
from piko.scheduler.backfill import BackfillAccount
from piko.scheduler.placement import Placement
from piko.scheduler.plan import Plan
from piko.scheduler.progress import Progress
from piko.scheduler.term import Term
from piko.store.backfills import BackfillStore
from piko.store.leases import Fence
from piko.store.run_rows import Run

T = TypeVar("T")


class Insist(Protocol):
    """Makes a call until the database answers or leadership ends."""

    async def __call__(self, fence: Fence, call: Callable[[], Awaitable[T]]) -> T: ...


class Begin(Protocol):
    """Lets queued runs start, here or elsewhere; the run ids that were still queued."""

    async def __call__(self, runs: Sequence[Run], fence: Fence, now: datetime) -> set[str]: ...


def split(runs: Iterable[Run]) -> tuple[list[Run], list[Run]]:
    """Live runs, and those of backfills."""
    live: list[Run] = []
    backfills: list[Run] = []
    for run in runs:
        (live if run.backfill_id is None else backfills).append(run)
    return live, backfills


class Backfiller:
    """Claims the windows of open backfills, after everything that is due."""

    def __init__(
        self,
        *,
        plan: Plan,
        requests: BackfillStore,
        clock: Clock,
        placement: Placement,
        begin: Begin,
        new_id: Callable[[], str],
        insist: Insist,
    ) -> None:
        self._plan = plan
        self._requests = requests
        self._clock = clock
        self._placement = placement
        self._begin = begin
        self._new_id = new_id
        self._insist = insist
        self.account = self._new_account()

    @property
    def progress(self) -> Progress:
        return self.account.progress

    async def begin(self, term: Term, *, running: Iterable[Run], queued: Iterable[Run]) -> None:
        """A new term: nothing that an earlier one knew counts."""
        self.account = self._new_account()
        term.beside = self.progress.running
        self.account.hold(running)
        self.progress.enqueue(queued)
        self.account.observe(await self._insist(term.fence, self._requests.open))

    async def look(self, fence: Fence) -> list[Run]:
        """See how the requests stand; the runs of those that were cancelled."""
        self.account.observe(await self._insist(fence, self._requests.open))
        return self.account.orphans()

    async def advance(self, term: Term) -> Sequence[Run]:
        """Claim what live runs leave room for; the runs to start."""
        now, account = self._clock.now(), self.account
        for job_id, data in account.asked_for():
            term.made_up(job_id, data)
        draft = account.due(term, now)
        starting: list[Run] = []
        if draft.steps:
            won = await self._insist(
                term.fence, lambda: self._requests.claim(draft.steps, term.fence, now=now)
            )
            starting.extend(account.claimed(draft.steps, won))
        if draft.retries:
            begun = await self._insist(term.fence, lambda: self._begin(draft.retries, term.fence, now))
            starting.extend(account.started(draft.retries, begun))
        if draft.messages:
            await self._insist(term.fence, lambda: self._requests.explain(draft.messages, term.fence))
            account.explained(draft.messages)
        return starting

    def _new_account(self) -> BackfillAccount:
        return BackfillAccount(plan=self._plan, placement=self._placement, new_id=self._new_id)
