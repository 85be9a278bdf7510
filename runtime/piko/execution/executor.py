"""One run's life in this process: config, resources, handler, timeout, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from piko.clock import Clock
from piko.core.context import JobContext
from piko.core.types import RunState, TriggerType
from piko.execution.failure import describe
from piko.execution.resources import AppResources, RunResources
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.observability.watchdog import run_name
from piko.scheduler.configs import ConfigBook, ConfigInForce
from piko.scheduler.plan import PlannedJob
from piko.store.instances import InstanceFence
from piko.store.run_rows import Run

_CLEAN_UP_S = 5.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a handler ended."""

    run: Run
    job: PlannedJob
    fence: InstanceFence
    state: RunState
    started_at: datetime
    finished_at: datetime
    duration_s: float
    config_revision: int | None = None
    error_type: str | None = None
    error: str | None = None
    by_shutdown: bool = False


@dataclass(slots=True)
class _Active:
    task: asyncio.Task[None]
    begun: bool = False
    reason: str | None = None
    by_shutdown: bool = False


@dataclass(frozen=True, slots=True)
class _End:
    """What came of a handler, before anybody asks why."""

    state: RunState
    failure: BaseException | None = None
    config_revision: int | None = None
    secrets: frozenset[str] = frozenset()


class Executor:
    """Runs handlers as tasks of this event loop."""

    def __init__(
        self,
        *,
        app_name: str,
        configs: ConfigBook,
        clock: Clock,
        metrics: Metrics,
        ended: Callable[[Ending], None],
    ) -> None:
        self._shared = AppResources(app_name=app_name)
        self._configs = configs
        self._clock = clock
        self._metrics = metrics
        self._ended = ended
        self._active: dict[str, _Active] = {}
        metrics.jobs_running.set_function(lambda: len(self._active))

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._active

    @property
    def run_ids(self) -> set[str]:
        """What runs now."""
        return set(self._active)

    def start(
        self,
        run: Run,
        job: PlannedJob,
        fence: InstanceFence,
        *,
        config: Callable[[], ConfigInForce] | None = None,
    ) -> None:
        """Begin `run`; `ended` is called when it is over, whatever happens.

        It gets the config that is in force when it starts, or what `config` gives.
        """
        if config is None:
            config = partial(self._configs.in_force, job.definition, self._clock.now())
        name = run_name(run.job_id, run.run_id)
        task = asyncio.create_task(self._run(run, job, fence, config), name=name)
        self._active[run.run_id] = _Active(task=task)

    def cancel(self, run_id: str, *, reason: str, by_shutdown: bool = False) -> None:
        """Cancel a run; its outcome says why."""
        active = self._active.get(run_id)
        if active is not None and active.reason is None:
            active.reason, active.by_shutdown = reason, by_shutdown
            if active.begun:  # a task that is cancelled before its first step would never tell its end
                active.task.cancel()

    async def drain(self, budget_s: float) -> None:
        """Wait up to `budget_s` seconds for what runs, then cancel the rest and wait for its clean-up."""
        tasks = [active.task for active in self._active.values()]
        if not tasks:
            return
        log.info("draining", runs=len(tasks), budget_s=budget_s)
        _, late = await asyncio.wait(tasks, timeout=budget_s)
        if late:
            for run_id in list(self._active):
                self.cancel(run_id, reason="the replica stopped", by_shutdown=True)
            _, deaf = await asyncio.wait(late, timeout=_CLEAN_UP_S)
            if deaf:
                log.error("handlers_ignore_cancellation", runs=[task.get_name() for task in deaf])

    async def close(self) -> None:
        """Close what the runs have shared; nothing may run any more."""
        await self._shared.close()

    async def _run(
        self, run: Run, job: PlannedJob, fence: InstanceFence, config: Callable[[], ConfigInForce]
    ) -> None:
        active = self._active[run.run_id]
        active.begun = True
        started_at, before = self._clock.now(), self._clock.monotonic()
        end = _End(RunState.CANCELLED)
        try:
            if active.reason is None:
                self._announce(run, started_at)
                end = await self._attempt(run, job, config)
        finally:
            del self._active[run.run_id]
            duration_s = self._clock.monotonic() - before
            self._metrics.job_duration.labels(run.job_id).observe(duration_s, {"run_id": run.run_id})
            if active.reason is not None and end.state is RunState.FAILED:
                end = replace(end, state=RunState.CANCELLED)  # it failed of being cancelled
            text, kind = describe(
                end.state, end.failure, reason=active.reason, timeout_s=job.timeout_s, secrets=end.secrets
            )
            self._ended(
                Ending(
                    run=run,
                    job=job,
                    fence=fence,
                    state=end.state,
                    started_at=started_at,
                    finished_at=self._clock.now(),
                    duration_s=duration_s,
                    config_revision=end.config_revision,
                    error_type=kind,
                    error=text,
                    by_shutdown=active.by_shutdown,
                )
            )

    def _announce(self, run: Run, started_at: datetime) -> None:
        if run.trigger_type is not TriggerType.BACKFILL:  # its window is old, and not late
            self._metrics.job_start_delay.labels(run.job_id).observe(
                max((started_at - run.scheduled_time).total_seconds(), 0.0)
            )
            self._metrics.job_last_run.set(run.job_id, started_at)
        log.info(
            "run_started", job_id=run.job_id, run_id=run.run_id, scheduled_time=run.scheduled_time.isoformat()
        )

    async def _attempt(self, run: Run, job: PlannedJob, give: Callable[[], ConfigInForce]) -> _End:
        """Call the handler; raises nothing, whatever it does."""
        revision, secrets = None, frozenset[str]()
        limit = None if job.timeout_s is None else asyncio.timeout(job.timeout_s)
        try:
            config = give()
            revision, secrets = config.revision, config.secrets
            context = _context(run, config)
            # The limit is for the run; closing what it has opened comes after it, with bounds of its own.
            async with RunResources(shared=self._shared) as resources, limit or nullcontext():
                acquired = await resources.acquire(job.definition.resources, context)
                await job.definition.handler(context, run.scheduled_time, **acquired)
        except asyncio.CancelledError as error:
            # Else it is something that the handler waited for, and nobody meant this run.
            state = RunState.CANCELLED if _is_being_cancelled() else RunState.FAILED
            return _End(state, error, revision, secrets)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a handler raises is its run's outcome
            state = RunState.TIMEOUT if limit and limit.expired() else RunState.FAILED
            return _End(state, error, revision, secrets)
        # A handler that drops its cancellation and returns has not been in time either.
        return _End(RunState.TIMEOUT if limit and limit.expired() else RunState.SUCCESS, None, revision)


def _context(run: Run, config: ConfigInForce) -> JobContext:
    return JobContext(
        run_id=run.run_id,
        job_id=run.job_id,
        config=config.value,
        scheduled_time=run.scheduled_time,
        attempt=run.attempt,
        trigger_type=run.trigger_type,
        data_interval=run.window,
        config_revision=config.revision,
        backfill_id=run.backfill_id,
    )


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
