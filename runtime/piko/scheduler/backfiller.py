"""Open backfills to claimed runs: the shell around a `BackfillAccount`, a part of the dispatcher's loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from piko.catalog.catalog import Catalog
from piko.clock import Clock
from piko.decisions.backfill_account import BackfillAccount
from piko.decisions.placement import Placement
from piko.decisions.progress import Progress
from piko.model.backfills import BackfillStep
from piko.model.runs import Run
from piko.scheduler.term import Term
from piko.scheduler.writes import Writes
from piko.store.backfills import BackfillStore


class Begin(Protocol):
    """Lets queued runs start, here or elsewhere: those that could be, and the ids that were still queued."""

    async def __call__(self, runs: Sequence[Run], now: datetime) -> tuple[Sequence[Run], set[str]]: ...


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
        catalog: Catalog,
        requests: BackfillStore,
        clock: Clock,
        placement: Placement,
        begin: Begin,
        new_id: Callable[[], str],
    ) -> None:
        self._catalog = catalog
        self._requests = requests
        self._clock = clock
        self._placement = placement
        self._begin = begin
        self._new_id = new_id
        self._writes: Writes
        self.account = self._new_account()

    @property
    def progress(self) -> Progress:
        return self.account.progress

    async def begin(self, writes: Writes, *, running: Iterable[Run], queued: Iterable[Run]) -> None:
        """A new term: nothing that an earlier one knew counts."""
        self._writes = writes
        self.account = self._new_account()
        writes.term.beside = self.progress.running
        self.account.hold(running)
        self.progress.enqueue(queued)
        self.account.observe(await writes.insist(self._requests.open))

    async def look(self) -> list[Run]:
        """See how the requests stand; the runs of those that were cancelled."""
        self.account.observe(await self._writes.insist(self._requests.open))
        return self.account.orphans()

    async def advance(self, term: Term) -> Sequence[Run]:
        """Claim what live runs leave slots for; the runs to start."""
        now, account = self._clock.now(), self.account
        for job_id, data in account.asked_for():
            term.made_up(job_id, data)
        plan = account.due(term, now)
        starting: list[Run] = []
        if plan.steps:
            starting.extend(account.claimed(*await self._claim(plan.steps, now)))
        if plan.retries:
            starting.extend(account.started(*await self._begin(plan.retries, now)))
        if plan.messages:
            account.explained(await self._explain(plan.messages))
        return starting

    async def _claim(
        self, steps: Sequence[BackfillStep], now: datetime
    ) -> tuple[Sequence[BackfillStep], dict[str, Run]]:
        """Claim `steps`; those that were not refused, and of these the runs that are ours."""
        written = await self._writes.isolated(
            "a claim of a backfill",
            lambda jobs: self._requests.claim(
                [step for step in steps if jobs is None or step.job_id in jobs],
                self._writes.term.fence,
                now=now,
            ),
            jobs=lambda: [step.job_id for step in steps],
            others=[run.run_id for step in steps for run in step.runs],
        )
        tried = [step for step in steps if step.job_id not in written.left_out]
        return tried, {run_id: run for won in written.results for run_id, run in won.items()}

    async def _explain(self, messages: Mapping[str, str | None]) -> dict[str, str | None]:
        """Write why requests wait; what was not refused."""
        jobs_of = {backfill_id: self.account.job_of(backfill_id) for backfill_id in messages}
        written = await self._writes.isolated(
            "the message of a backfill",
            lambda jobs: self._requests.explain(
                {key: text for key, text in messages.items() if jobs is None or jobs_of[key] in jobs},
                self._writes.term.fence,
            ),
            jobs=jobs_of.values,
        )
        return {key: text for key, text in messages.items() if jobs_of[key] not in written.left_out}

    def _new_account(self) -> BackfillAccount:
        return BackfillAccount(
            rows=self._catalog.assessed_rows, placement=self._placement, new_id=self._new_id
        )
