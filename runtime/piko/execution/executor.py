"""One run's life in this process: config, resources, handler, timeout, and how it ended."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime

from piko.clock import Clock
from piko.core.context import JobContext
from piko.core.types import RunState
from piko.errors import ConfigError
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.scheduler.configs import ConfigBook, ConfigInForce
from piko.scheduler.plan import PlannedJob
from piko.store.leases import Fence
from piko.store.runs import Run

_TRACEBACK_LIMIT = 8_000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a handler ended."""

    run: Run
    job: PlannedJob
    fence: Fence
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
    reason: str | None = None
    by_shutdown: bool = False


class Executor:
    """Runs handlers as tasks of this event loop."""

    def __init__(
        self, *, configs: ConfigBook, clock: Clock, metrics: Metrics, ended: Callable[[Ending], None]
    ) -> None:
        self._configs = configs
        self._clock = clock
        self._metrics = metrics
        self._ended = ended
        self._active: dict[str, _Active] = {}

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._active

    def start(self, run: Run, job: PlannedJob, fence: Fence) -> None:
        """Begin `run`; `ended` is called when it is over, whatever happens."""
        task = asyncio.create_task(self._run(run, job, fence), name=f"run {run.job_id} {run.run_id}")
        self._active[run.run_id] = _Active(task=task)
        self._metrics.jobs_running.set(len(self._active))

    def cancel(self, run_id: str, *, reason: str, by_shutdown: bool = False) -> None:
        """Cancel a run; its outcome says why."""
        active = self._active.get(run_id)
        if active is not None and active.reason is None:
            active.reason, active.by_shutdown = reason, by_shutdown
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
            await asyncio.wait(late, timeout=5)

    async def _run(self, run: Run, job: PlannedJob, fence: Fence) -> None:
        started_at, before = self._clock.now(), self._clock.monotonic()
        self._metrics.job_start_delay.labels(run.job_id).observe(
            max((started_at - run.scheduled_time).total_seconds(), 0.0)
        )
        self._metrics.job_last_run.labels(run.job_id).set(started_at.timestamp())
        log.info(
            "run_started", job_id=run.job_id, run_id=run.run_id, scheduled_time=run.scheduled_time.isoformat()
        )
        state, failure, config = RunState.FAILED, None, ConfigInForce(revision=None, value=None)
        try:
            config = self._configs.in_force(job.definition, started_at)
            state, failure = await self._call(run, job, config)
        except ConfigError as error:
            failure = error
        except asyncio.CancelledError as error:
            state, failure = RunState.CANCELLED, error
        finally:
            active = self._active.pop(run.run_id)
            self._metrics.jobs_running.set(len(self._active))
            duration_s = self._clock.monotonic() - before
            self._metrics.job_duration.labels(run.job_id).observe(duration_s, {"run_id": run.run_id})
            text, kind = _describe(failure, job, reason=active.reason)
            self._ended(
                Ending(
                    run=run,
                    job=job,
                    fence=fence,
                    state=state,
                    started_at=started_at,
                    finished_at=self._clock.now(),
                    duration_s=duration_s,
                    config_revision=config.revision,
                    error_type=kind,
                    error=text,
                    by_shutdown=active.by_shutdown,
                )
            )

    async def _call(
        self, run: Run, job: PlannedJob, config: ConfigInForce
    ) -> tuple[RunState, BaseException | None]:
        context = JobContext(
            run_id=run.run_id,
            job_id=run.job_id,
            config=config.value,
            scheduled_time=run.scheduled_time,
            attempt=run.attempt,
            trigger_type=run.trigger_type,
            data_interval=run.window,
            config_revision=config.revision,
        )
        limit = asyncio.timeout(job.timeout_s)
        try:
            async with limit, AsyncExitStack() as stack:
                resources = {
                    name: await stack.enter_async_context(factory().acquire(context))
                    for name, factory in job.definition.resources.items()
                }
                await job.definition.handler(context, run.scheduled_time, **resources)
        except TimeoutError as error:
            return (RunState.TIMEOUT if limit.expired() else RunState.FAILED), error
        except Exception as error:  # noqa: BLE001 - whatever a handler raises is its run's outcome
            return RunState.FAILED, error
        return RunState.SUCCESS, None


def _describe(
    failure: BaseException | None, job: PlannedJob, *, reason: str | None
) -> tuple[str | None, str | None]:
    """Message with a bounded traceback, and the error's type."""
    if failure is None:
        return None, None
    if isinstance(failure, asyncio.CancelledError):
        return reason or "the handler was cancelled", "CancelledError"
    if isinstance(failure, TimeoutError) and job.timeout_s is not None and not str(failure):
        return f"the handler ran longer than timeout_s = {job.timeout_s:g}", "TimeoutError"
    if isinstance(failure, ConfigError):
        return str(failure), "ConfigError"
    lines = "".join(traceback.format_exception(failure))
    if len(lines) > _TRACEBACK_LIMIT:
        half, left_out = _TRACEBACK_LIMIT // 2, len(lines) - _TRACEBACK_LIMIT
        lines = f"{lines[:half]}\n… {left_out} characters …\n{lines[-half:]}"
    return f"{failure}\n{lines}", type(failure).__name__
