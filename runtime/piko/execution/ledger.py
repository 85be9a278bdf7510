"""Writes outcomes to the database.

Batches form by themselves: the outcomes that arrive while one batch is being written are the next batch. So a
busy replica writes few large transactions, and an idle one writes at once.

While the database is unavailable, outcomes are kept in memory and on disk, and written when it returns. If
another replica has taken over the leadership by then, the fence refuses them and they are dropped, because
the new leader has already decided about those runs; recording them too would give a run two ends. If the
database refuses the outcomes of one job, they are set aside for a while, and the others are written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from piko.background.backoff import Backoff
from piko.background.periodic import Transient, repeat
from piko.core.types import RunState, TriggerType
from piko.errors import DatabaseUnavailableError, FencedError
from piko.execution.held_jobs import HeldJobs
from piko.execution.pending_outcomes import BOUND, Pending, PendingOutcomes
from piko.model.fences import OutcomeFence
from piko.model.runs import Outcome
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.spool.outcomes import OutcomeSpool
from piko.store.isolation import Written, write_isolated
from piko.store.runs import RunStore
from piko.tracing.traces import NO_TRACES, Traces

_BATCH = 900
_AGAIN_S = 0.5

log = get_logger(__name__)


class Ledger:
    """Writes outcomes in batches.

    - `recorded`: called with each batch that the database has recorded.
    - `refused`: called with each batch that the fence has refused.
    - `settled`: called with the jobs whose outcomes the database accepts again, and with those that it
      refuses, with the error.
    - `held`: the jobs whose rows an open transaction holds.
    - `traces`: gets a span of each batch.
    - `bound`: the most outcomes kept in memory.
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
        traces: Traces = NO_TRACES,
        bound: int = BOUND,
    ) -> None:
        self._runs = runs
        self._metrics = metrics
        self._recorded = recorded
        self._refused = refused
        self._settled = settled
        self._held = held
        self._traces = traces
        self._pending = PendingOutcomes(spool=spool, metrics=metrics, bound=bound)
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._pause_s: float | None = None
        """How long the next batch may wait, unless something arrives."""

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def full(self) -> bool:
        """Whether no more outcomes can be kept, so that no new run may start."""
        return self._pending.full

    @property
    def failing(self) -> str | None:
        """Why outcomes cannot be put on disk, if that is needed."""
        return self._pending.failing

    @property
    def run_ids(self) -> set[str]:
        """Runs whose outcome is not written yet."""
        return self._pending.run_ids

    def put(self, outcome: Outcome, fence: OutcomeFence) -> None:
        self._pending.put(outcome, fence)
        self._idle.clear()
        self._arrived.set()

    async def flushed(self) -> None:
        """Return when everything is written."""
        await self._idle.wait()

    async def run(self) -> None:
        """Write outcomes until cancelled."""
        away = Transient(
            errors=(DatabaseUnavailableError,),
            report=self._database_is_away,
            backoff=Backoff.steady(_AGAIN_S),
        )
        await repeat(self._write_next, pause_s=lambda: self._pause_s, wake=self._arrived, transient=[away])

    async def _write_next(self) -> None:
        """Write one batch, if there is one."""
        if not await self._pending.refill():
            self._idle.set()
            self._pause_s = self._pending.until_again()
            return
        chosen = self._pending.next_batch(_BATCH, without=self._held.left_out() if self._held else ())
        if chosen is None:  # all pending outcomes are of held jobs
            self._pause_s = self._held.again_in_s()
            return
        self._pause_s = 0.0
        fence, pending = chosen
        try:
            with self._pending.watched(), self._traces.recording(item.outcome.run for item in pending):
                written = await self._write(pending, fence)
        except FencedError as error:
            batch = [item.outcome for item in pending]
            self._pending.written(pending)
            log.error("outcomes_refused", runs=[outcome.run.run_id for outcome in batch], error=str(error))
            self._refused(batch, fence)
            return
        self._settle(pending, written)

    def _database_is_away(self, error: Exception) -> None:
        self._metrics.db_errors.labels(self.name).inc()
        self._pending.database_is_away()
        log.warning("outcomes_kept", outcomes=len(self), error=str(error))

    async def _write(self, pending: list[Pending], fence: OutcomeFence) -> Written[set[str]]:
        """Write `pending`; outcomes of jobs that the database refuses are left out."""
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
        """Note which outcomes were written and which were refused."""
        done = [item for item in pending if item.outcome.run.job_id not in written.left_out]
        if self._held or written.held:
            self._held.hold(written.held, searched=written.searched)
            self._held.free(item.outcome.run.job_id for item in done)
        if written.refused:
            self._pending.set_aside([item for item in pending if item.outcome.run.job_id in written.refused])
        accepted_again = {item.outcome.run.job_id for item in done if item.refusals}
        if written.refused or accepted_again:
            self._settled(accepted_again, written.refused)
        if not done:
            return
        self._pending.written(done)
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
        """Put unwritten outcomes on disk, after `run` has ended."""
        await self._pending.close()

    def _count(self, outcome: Outcome) -> Outcome:
        count_end(self._metrics, outcome)
        return outcome


def count_end(metrics: Metrics, outcome: Outcome) -> None:
    """Count the end of a run in the metrics.

    The start, too: a leader that fetches runs as any replica does may not have seen a short one in progress.
    """
    run = outcome.run
    metrics.job_runs.inc(run.job_id, outcome.state.value)
    if outcome.retry is not None:
        metrics.job_retries.inc(run.job_id, outcome.state.value)
    if run.trigger_type is TriggerType.BACKFILL:
        return
    if outcome.started_at is not None:
        metrics.job_last_run.advance(run.job_id, outcome.started_at)
    if outcome.state is RunState.SUCCESS:
        metrics.job_last_success.advance(run.job_id, outcome.finished_at)


def _without_effect(outcome: Outcome) -> Outcome:
    """The outcome of a run that already had another end: its slot is free, and nothing else follows."""
    log.warning(
        "outcome_too_late", job_id=outcome.run.job_id, run_id=outcome.run.run_id, state=outcome.state.value
    )
    return replace(outcome, watermark=None, retry=None)
