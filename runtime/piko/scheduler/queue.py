"""What waits in the database for the leader: queued runs, and backfills that are open.

A run may be queued for a row that this replica has not read yet: somebody inserts a schedule and triggers it
within one poll. That it has no row is known only once the rows have been read after the run was seen; until
then the run is left in the queue, or the leader would cancel it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from piko.catalog.catalog import Catalog
from piko.clock import Clock
from piko.decisions.events import QueueRead
from piko.model.backfills import Backfill
from piko.model.runs import Run
from piko.observability.metrics import Metrics
from piko.scheduler.insistence import Insistence
from piko.store.backfills import BackfillStore
from piko.store.runs import RunStore

_MOST = 1000
"""Waiting runs that are looked at together."""


class Queue:
    """Reads it, in one term. `offers`: what is offered to every replica waits for the leader no longer."""

    def __init__(
        self,
        *,
        insist: Insistence,
        catalog: Catalog,
        runs: RunStore,
        backfills: BackfillStore,
        clock: Clock,
        metrics: Metrics,
        offers: bool,
    ) -> None:
        self._insist = insist
        self._catalog = catalog
        self._runs = runs
        self._backfills = backfills
        self._clock = clock
        self._metrics = metrics
        self._offers = offers
        self._without_row: dict[str, float] = {}
        """When runs of a job were first seen whose row is not known, on the monotonic clock."""

    async def queued(self) -> Sequence[Run]:
        """Runs that wait, at most as many as are looked at together. Raises `FencedError`."""
        return self._of_rows_read(await self._waiting())

    async def backfills(self) -> Sequence[Backfill]:
        """Backfills that are open. Raises `FencedError`."""
        return await self._insist(self._backfills.open)

    async def read(self, *, asked: Collection[str]) -> QueueRead:
        """Both; `asked`: the runs that are known to wait. Raises `FencedError`."""
        runs = await self._waiting()
        backfills = await self.backfills()
        await self._show_age(runs)
        self._show_windows(backfills)
        return QueueRead(
            asked=asked,
            runs=self._of_rows_read(runs),
            complete=len(runs) < _MOST,
            backfills=backfills,
            now=self._clock.now(),
        )

    async def _waiting(self) -> Sequence[Run]:
        return await self._insist(lambda: self._runs.queued(limit=_MOST, offered=not self._offers))

    async def _show_age(self, waiting: Sequence[Run]) -> None:
        """Export how old the queue is. Raises `FencedError`."""
        since = None
        if waiting or self._offers:  # what is offered is not among `waiting`
            since = await self._insist(lambda: self._runs.waiting_since(now=self._clock.now()))
        self._metrics.queue_oldest.replace({"": since})

    def _show_windows(self, backfills: Sequence[Backfill]) -> None:
        counts = {
            "succeeded": sum(each.windows_succeeded for each in backfills),
            "failed": sum(each.windows_failed for each in backfills),
            "left": sum(
                each.windows_total - each.windows_succeeded - each.windows_failed for each in backfills
            ),
        }
        for state, count in counts.items():
            self._metrics.backfill_windows.labels(state).set(count)

    def _of_rows_read(self, runs: Sequence[Run]) -> Sequence[Run]:
        """`runs` without those whose rows may have been inserted since rows were read last."""
        seen_at, known = self._clock.monotonic(), self._catalog.assessed_rows
        unknown = {run.job_id for run in runs if run.job_id not in known}
        self._without_row = {job_id: self._without_row.get(job_id, seen_at) for job_id in unknown}
        unread = {
            job_id
            for job_id, first_seen_at in self._without_row.items()
            if self._catalog.read_at is None or self._catalog.read_at <= first_seen_at
        }
        return [run for run in runs if run.job_id not in unread]
