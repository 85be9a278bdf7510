"""Effects on runs: claims, starts and backfills."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from piko.clock import Clock
from piko.core.types import RunState, TriggerType
from piko.decisions.effects import (
    Claim,
    ClaimWindows,
    ExplainBackfills,
    Requeue,
    StartQueued,
    Withdraw,
)
from piko.decisions.events import (
    BackfillsExplained,
    Claimed,
    QueuedStarted,
    Requeued,
    WindowsClaimed,
    Withdrawn,
)
from piko.execution.held_jobs import HeldJobs
from piko.execution.upcoming import UpcomingRuns
from piko.model.claims import ClaimBatch
from piko.model.fences import Fence, InstanceFence
from piko.model.runs import Run
from piko.scheduler.isolated_writes import IsolatedWrites, of_jobs
from piko.scheduler.row_writes import RowWrites
from piko.store.backfills import BackfillStore
from piko.store.isolation import Written
from piko.store.runs import RunStore
from piko.tracing.traces import Traces


class RunWrites:
    """Writes runs in one term; everything raises `FencedError`.

    `offers`: runs that may start are offered to every replica. `offered` is set when there may be something
    to fetch, and `claiming` holds the runs whose claim is under way and that start here when it is through.
    """

    def __init__(
        self,
        *,
        fence: Fence,
        instance_id: str,
        writes: IsolatedWrites,
        rows: RowWrites,
        runs: RunStore,
        backfills: BackfillStore,
        held: HeldJobs,
        upcoming: UpcomingRuns,
        clock: Clock,
        offers: bool,
        offered: asyncio.Event,
        claiming: set[str],
        traces: Traces,
    ) -> None:
        self._fence = fence
        self._handlers_fence = InstanceFence(instance_id=instance_id, epoch=fence.epoch)
        self._writes = writes
        self._rows = rows
        self._runs = runs
        self._backfills = backfills
        self._held = held
        self._upcoming = upcoming
        self._clock = clock
        self._offers = offers
        self._offered = offered
        self._claiming = claiming
        self._traces = traces

    async def claim(self, claim: Claim) -> Claimed:
        """Claim what is due, but for jobs whose part cannot be written."""
        batch = claim.batch
        self._claiming.update(run.run_id for run in batch.runs if run.state is RunState.RUNNING)
        if claim.ahead:
            first = min(run.starts_at for run in batch.runs if run.starts_at is not None)
            self._upcoming.expect(first, self._handlers_fence)
        try:
            await self._rows.record_revisions()  # what is offered names its revision
            with self._traces.claiming(batch.runs) as runs:
                written = await self._write_claim(replace(batch, runs=runs), claim.now)
        finally:
            self._claiming.clear()
        if any(run.is_offered and run.trigger_type is TriggerType.CATCH_UP for run in batch.runs):
            self._offered.set()  # the next window waits for it
        won: dict[str, Run] = {}
        for part in written.results:
            won.update(part)
        now = self._clock.now()
        again_at = claim.now + timedelta(seconds=self._held.again_in_s()) if written.held else None
        return Claimed(
            claim=claim, won=won, now=now, left_out=written.left_out, held=written.held, again_at=again_at
        )

    async def _write_claim(self, batch: ClaimBatch, now: datetime) -> Written[dict[str, Run]]:
        # The same token until the outcome is known: a COMMIT that was cut off may have worked.
        return await self._writes.write(
            "a claim",
            lambda jobs: self._runs.claim(batch if jobs is None else batch.only(jobs), self._fence, now=now),
            jobs=lambda: batch.jobs,
            runs=batch.runs,
            others=[item.run_id for item in batch.passed_over],
        )

    async def withdraw(self, effect: Withdraw) -> Withdrawn:
        """Have runs never start that were claimed ahead, and take the claims back."""
        begun = {
            item.run.run_id
            for item in effect.withdrawals
            if not item.queued and not self._upcoming.withdraw(item.run.run_id)
        }
        unbegun = [item for item in effect.withdrawals if item.run.run_id not in begun]
        written = await self._writes.write(
            "the end of a claim that was made ahead",
            lambda jobs: self._runs.withdraw(of_jobs(unbegun, jobs), self._fence, now=effect.now),
            jobs=lambda: [item.job_id for item in unbegun],
            runs=[item.run for item in unbegun],
        )
        self._upcoming.forget({item.run.run_id for item in unbegun if item.job_id not in written.left_out})
        self._rows.take_in_later(written.left_out)
        return Withdrawn(
            withdrawals=effect.withdrawals,
            won=set().union(*written.results),
            begun=begun,
            now=self._clock.now(),
            left_out=written.left_out,
        )

    async def requeue(self, effect: Requeue) -> Requeued:
        """Let runs wait again that their instances have not begun."""
        runs = effect.runs
        written = await self._writes.write(
            "the return of a run to the queue",
            lambda jobs: self._runs.requeue(of_jobs(runs, jobs), self._fence),
            jobs=lambda: [run.job_id for run in runs],
            runs=runs,
        )
        tried = [run for run in runs if run.job_id not in written.left_out]
        return Requeued(runs=tried, won=set().union(*written.results), now=self._clock.now())

    async def start_queued(self, effect: StartQueued) -> QueuedStarted:
        """Let queued runs start, here or on any replica."""
        if self._offers:
            await self._rows.record_revisions()
        with self._traces.claiming(effect.runs) as runs:
            written = await self._writes.write(
                "the start of a run",
                lambda jobs: self._start(of_jobs(runs, jobs), effect),
                jobs=lambda: [run.job_id for run in runs],
                runs=runs,
            )
        if self._offers:
            self._offered.set()
        tried = [run for run in runs if run.job_id not in written.left_out]
        return QueuedStarted(runs=tried, won=set().union(*written.results), now=self._clock.now())

    async def _start(self, runs: Sequence[Run], effect: StartQueued) -> set[str]:
        if self._offers:
            return await self._runs.offer(runs, self._fence)
        return await self._runs.start(runs, self._fence, now=effect.now)

    async def claim_windows(self, effect: ClaimWindows) -> WindowsClaimed:
        """Claim the next windows of backfills."""
        with self._traces.claiming([run for step in effect.steps for run in step.runs]) as runs:
            traced = iter(runs)
            steps = [replace(step, runs=list(islice(traced, len(step.runs)))) for step in effect.steps]
            written = await self._writes.write(
                "a claim of a backfill",
                lambda jobs: self._backfills.claim(of_jobs(steps, jobs), self._fence, now=effect.now),
                jobs=lambda: [step.job_id for step in steps],
                others=[run.run_id for run in runs],
            )
        tried = [step for step in steps if step.job_id not in written.left_out]
        won = {run_id: run for part in written.results for run_id, run in part.items()}
        return WindowsClaimed(steps=tried, won=won, now=self._clock.now())

    async def explain(self, effect: ExplainBackfills) -> BackfillsExplained:
        """Write why backfills wait."""

        def of(jobs: Collection[str] | None) -> dict[str, str | None]:
            messages = effect.messages.items()
            return {key: text for key, text in messages if jobs is None or effect.jobs[key] in jobs}

        written = await self._writes.write(
            "the message of a backfill",
            lambda jobs: self._backfills.explain(of(jobs), self._fence),
            jobs=effect.jobs.values,
        )
        return BackfillsExplained(messages=of(set(effect.jobs.values()) - written.left_out))
