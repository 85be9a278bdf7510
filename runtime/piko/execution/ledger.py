"""Outcomes on their way to the database.

They are written in batches that form by themselves: what arrives while one batch is being written is the
next. Where the database is away they are kept, in memory and on disk, and written when it returns; where
another replica took the leadership away by then, the fence refuses them and they are dropped, for the new
leader judges those runs. Where the database refuses those of one job, they are set aside for a while, and the
others are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.core.types import RunState, TriggerType
from piko.errors import DatabaseUnavailableError, FencedError
from piko.execution.backlog import BOUND, Backlog, Pending
from piko.execution.held_jobs import HeldJobs
from piko.model.fences import OutcomeFence
from piko.model.runs import Outcome
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.spool.outcomes import OutcomeSpool
from piko.store.isolation import Written, write_isolated
from piko.store.runs import RunStore

_BATCH = 900
_AGAIN_S = 0.5

log = get_logger(__name__)


class Ledger:
    """Writes outcomes; `recorded` and `refused` hear of each batch. `bound`: so many are kept in memory.

    `settled` hears of jobs of which the database takes outcomes that it had refused, and of those of which it
    refuses some, with its words.
    """

    name = "ledger"

    def __init__(
        self,
        *,
        runs: RunStore,
        spool: OutcomeSpool,
        metrics: Metrics,
        recorded: Callable[[list[Outcome]], None],
        refused: Callable[[list[Outcome], OutcomeFence], None],
        settled: Callable[[set[str], dict[str, str]], None],
        held: HeldJobs,
        bound: int = BOUND,
    ) -> None:
        self._runs = runs
        self._metrics = metrics
        self._recorded = recorded
        self._refused = refused
        self._settled = settled
        self._held = held
        self._backlog = Backlog(spool=spool, metrics=metrics, bound=bound)
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pause_s: float | None = None
        """How long the next batch may wait, unless something arrives."""

    def __len__(self) -> int:
        return len(self._backlog)

    @property
    def full(self) -> bool:
        """Whether no more ends could be kept: nothing new may start."""
        return self._backlog.full

    @property
    def failing(self) -> str | None:
        """Why outcomes cannot be kept on disk, where that is needed."""
        return self._backlog.failing

    @property
    def run_ids(self) -> set[str]:
        """Runs whose end is not written yet."""
        return self._backlog.run_ids

    def put(self, outcome: Outcome, fence: OutcomeFence) -> None:
        self._backlog.put(outcome, fence)
        self._idle.clear()
        self._arrived.set()

    async def flushed(self) -> None:
        """Return when everything is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write what arrives, until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,), tell=self._database_is_away, backoff=Backoff.steady(_AGAIN_S)
        )
        await repeat(self._write_next, pause_s=lambda: self._pause_s, wake=self._arrived, transient=[away])

    async def _write_next(self) -> None:
        """Write one batch, if there is one."""
        if not await self._backlog.refill():
            self._idle.set()
            self._pause_s = self._backlog.until_again()
            return
        chosen = self._backlog.next_batch(_BATCH, without=self._held.left_out() if self._held else ())
        if chosen is None:  # all that there is, is of jobs of which somebody holds rows
            self._pause_s = self._held.again_in_s()
            return
        self._pause_s = 0.0
        fence, pending = chosen
        try:
            with self._backlog.watched():
                written = await self._write(pending, fence)
        except FencedError as error:
            batch = [item.outcome for item in pending]
            self._backlog.written(pending)
            log.error("outcomes_refused", runs=[outcome.run.run_id for outcome in batch], error=str(error))
            self._refused(batch, fence)
            return
        self._settle(pending, written)

    def _database_is_away(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        self._backlog.database_is_away()
        log.warning("outcomes_kept", outcomes=len(self), error=str(error))

    async def _write(self, pending: list[Pending], fence: OutcomeFence) -> Written[set[str]]:
        """Write what the database takes of `pending`."""
        batch = [item.outcome for item in pending]
        return await write_isolated(
            lambda jobs: self._runs.finish(
                batch if jobs is None else [item for item in batch if item.run.job_id in jobs], fence
            ),
            jobs=lambda: [outcome.run.job_id for outcome in batch],
            suspects={item.outcome.run.job_id for item in pending if item.refusals},
            whose=lambda job_ids: self._runs.held_jobs(
                job_ids, runs=[outcome.run for outcome in batch if outcome.run.job_id in job_ids]
            ),
        )

    def _settle(self, pending: list[Pending], written: Written[set[str]]) -> None:
        """Take note of what was written, and of what was refused."""
        done = [item for item in pending if item.outcome.run.job_id not in written.left_out]
        if self._held or written.held:
            self._held.hold(written.held, searched=written.searched)
            self._held.free(item.outcome.run.job_id for item in done)
        if written.refused:
            self._backlog.set_aside([item for item in pending if item.outcome.run.job_id in written.refused])
        accepted_again = {item.outcome.run.job_id for item in done if item.refusals}
        if written.refused or accepted_again:
            self._settled(accepted_again, written.refused)
        if not done:
            return
        self._backlog.written(done)
        recorded = set().union(*written.results)
        self._recorded(
            [
                self._count(item.outcome)
                if item.outcome.run.run_id in recorded
                else _without_effect(item.outcome)
                for item in done
            ]
        )

    async def close(self) -> None:
        """Leave on disk what is not written, after `run` has ended."""
        await self._backlog.close()

    def _count(self, outcome: Outcome) -> Outcome:
        count_end(self._metrics, outcome)
        return outcome


def count_end(metrics: Metrics, outcome: Outcome) -> None:
    """Count a run that ended as `outcome` says."""
    metrics.job_runs.labels(outcome.run.job_id, outcome.state.value).inc()
    if outcome.state is RunState.SUCCESS and outcome.run.trigger_type is not TriggerType.BACKFILL:
        metrics.job_last_success.advance(outcome.run.job_id, outcome.finished_at)


def _without_effect(outcome: Outcome) -> Outcome:
    """Of a run that had ended in another way: its place is free, and nothing follows."""
    log.warning(
        "outcome_too_late", job_id=outcome.run.job_id, run_id=outcome.run.run_id, state=outcome.state.value
    )
    return replace(outcome, watermark=None, retry=None)
