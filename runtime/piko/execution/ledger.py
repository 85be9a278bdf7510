"""Outcomes on their way to the database.

They are written in batches that form by themselves: what arrives while one batch is being written is the
next. Where the database is away they are kept and written when it returns; where another replica took the
leadership away by then, the fence refuses them and they are dropped, for the new leader judges those runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from piko.core.types import RunState, TriggerType
from piko.errors import DatabaseUnavailableError, FencedError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.store.run_rows import Outcome, OutcomeFence
from piko.store.runs import RunStore

_BATCH = 500
_PAUSE_S = 0.5

log = get_logger(__name__)


class Ledger:
    """Writes outcomes; `recorded` and `refused` hear of each batch."""

    name = "ledger"

    def __init__(
        self,
        *,
        runs: RunStore,
        metrics: Metrics,
        recorded: Callable[[list[Outcome]], None],
        refused: Callable[[list[Outcome], OutcomeFence], None],
    ) -> None:
        self._runs = runs
        self._metrics = metrics
        self._recorded = recorded
        self._refused = refused
        self._pending: list[tuple[Outcome, OutcomeFence]] = []
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def run_ids(self) -> set[str]:
        """Runs whose end is not written yet."""
        return {outcome.run.run_id for outcome, _ in self._pending}

    def put(self, outcome: Outcome, fence: OutcomeFence) -> None:
        self._pending.append((outcome, fence))
        self._idle.clear()
        self._arrived.set()

    async def flushed(self) -> None:
        """Return when everything is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write what arrives, until cancelled."""
        while True:
            if not self._pending:
                self._idle.set()
                self._arrived.clear()
                await self._arrived.wait()
            fence, batch = self._next_batch()
            try:
                told = await self._runs.finish(batch, fence)
            except DatabaseUnavailableError as error:
                self._metrics.db_errors.labels(self.name).inc()
                log.warning("outcomes_kept", outcomes=len(self._pending), error=str(error))
                await asyncio.sleep(_PAUSE_S)
                continue
            except FencedError as error:
                self._take(batch)
                log.error(
                    "outcomes_refused", runs=[outcome.run.run_id for outcome in batch], error=str(error)
                )
                self._refused(batch, fence)
                continue
            self._take(batch)
            self._recorded(
                [
                    self._count(outcome) if outcome.run.run_id in told else _without_effect(outcome)
                    for outcome in batch
                ]
            )

    def _count(self, outcome: Outcome) -> Outcome:
        self._metrics.job_runs.labels(outcome.run.job_id, outcome.state.value).inc()
        if outcome.state is RunState.SUCCESS and outcome.run.trigger_type is not TriggerType.BACKFILL:
            self._metrics.job_last_success.set(outcome.run.job_id, outcome.finished_at)
        return outcome

    def _next_batch(self) -> tuple[OutcomeFence, list[Outcome]]:
        """What is written next: of one fence, and of each run what was told first."""
        fence = self._pending[0][1]
        first: dict[str, Outcome] = {}
        for outcome, its in self._pending[:_BATCH]:
            if its == fence:
                first.setdefault(outcome.run.run_id, outcome)
        return fence, list(first.values())

    def _take(self, batch: list[Outcome]) -> None:
        done = {id(outcome) for outcome in batch}
        self._pending = [item for item in self._pending if id(item[0]) not in done]


def _without_effect(outcome: Outcome) -> Outcome:
    """Of a run that had ended in another way: its place is free, and nothing follows."""
    log.warning(
        "outcome_too_late", job_id=outcome.run.job_id, run_id=outcome.run.run_id, state=outcome.state.value
    )
    return replace(outcome, watermark=None, retry=None)
