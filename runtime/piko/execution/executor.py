"""The life of one run in this process: config, resources, handler, timeout, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from piko.catalog.configs import ConfigBook, ConfigInForce
from piko.catalog.jobs import Job
from piko.clock import Clock
from piko.core.context import JobContext
from piko.core.types import FAILED_STATES, RunState, TriggerType
from piko.errors import HandlerGoesOnError
from piko.execution.failure import describe, standing
from piko.execution.outcome import Ending
from piko.execution.resources import RELEASE_S, AppResources, RunResources
from piko.execution.results import kept_result
from piko.model.fences import InstanceFence
from piko.model.runs import Run
from piko.observability.bindings import of_run
from piko.observability.logs import get_logger
from piko.observability.metrics import Metrics
from piko.observability.run_lines import RunLines
from piko.observability.run_log import RunLog
from piko.observability.watchdog import run_name
from piko.persistence.intent import WriteIntent
from piko.tracing.traces import NO_SPAN, NO_TRACES, RunTrace, Traces

if TYPE_CHECKING:
    from piko.execution.run_logs import RunLogs  # with what writes them to the database

ABANDON_S = 60.0
"""Seconds that a cancelled handler may take to clean up, in addition to closing its resources."""
_CLEAN_UP_S = 5.0

Enqueue = Callable[[WriteIntent], Awaitable[None]]

log = get_logger(__name__)
_JOB_LOG = get_logger("job")
"""The logger of `ctx.log`."""


@dataclass(slots=True, kw_only=True)
class _Active:
    """A run that has not ended."""

    run: Run
    job: Job
    fence: InstanceFence
    task: asyncio.Task[None] | None = None
    started_at: datetime | None = None
    """None until its task has run its first step."""
    began: float = 0.0
    config_revision: int | None = None
    secrets: frozenset[str] = frozenset()
    trace: RunTrace = NO_SPAN
    log: RunLog | None = None
    """None where nobody keeps what runs say."""
    reason: str | None = None
    """Why it was cancelled."""
    by_shutdown: bool = False
    alarm: asyncio.TimerHandle | None = None
    """Fires when the handler is overdue and is to be abandoned."""


@dataclass(frozen=True, slots=True)
class _HandlerEnd:
    """How a handler ended, before the reason is determined."""

    state: RunState
    failure: BaseException | None = None
    config_revision: int | None = None
    secrets: frozenset[str] = frozenset()
    result: str | None = None


class Executor:
    """Runs handlers as tasks of this event loop.

    A handler is ended by cancelling it. A handler that ignores that is abandoned `abandon_after_s` seconds
    later: its run is recorded as ended, and its further results do not count. `ended` is called at the end of
    each run. `logs` keeps what runs log and how far they are; None: nobody does. `enqueue` takes what
    handlers write with `ctx.write`; None: they cannot. `traces` gets a span of each run.
    """

    def __init__(
        self,
        *,
        app_name: str,
        configs: ConfigBook,
        clock: Clock,
        metrics: Metrics,
        ended: Callable[[Ending], None],
        logs: RunLogs | None = None,
        enqueue: Enqueue | None = None,
        traces: Traces = NO_TRACES,
        abandon_after_s: float = ABANDON_S,
    ) -> None:
        self._shared = AppResources(app_name=app_name, traces=traces)
        self._configs = configs
        self._clock = clock
        self._metrics = metrics
        self._ended = ended
        self._logs = logs
        self._write = None if enqueue is None else partial(_write, enqueue)
        self._traces = traces
        self._abandon_after_s = abandon_after_s
        self._lines = RunLines(__name__)
        self._active: dict[str, _Active] = {}
        self._abandoned: set[asyncio.Task[None]] = set()
        metrics.jobs_running.set_function(lambda: len(self._active))

    def __len__(self) -> int:
        return len(self._active)

    def __contains__(self, run_id: object) -> bool:
        return run_id in self._active

    @property
    def run_ids(self) -> set[str]:
        """The runs in progress."""
        return set(self._active)

    @property
    def abandoned(self) -> int:
        """Handlers, and closings of shared resources, that continue although they were cancelled.

        Only the end of the process ends them.
        """
        return len(self._abandoned) + self._shared.abandoned

    def start(
        self,
        run: Run,
        job: Job,
        fence: InstanceFence,
        *,
        config: Callable[[], ConfigInForce] | None = None,
    ) -> None:
        """Start `run`; `ended` is called when it has ended, whatever happens.

        - `job`: the job as its row declares it.
        - `fence`: the fence under which the outcome may be recorded.
        - `config`: provides the config; by default, the one in force when the handler starts.
        """
        active = self._active[run.run_id] = _Active(run=run, job=job, fence=fence)
        if self._logs is not None:
            active.log = self._logs.open(job_id=run.job_id, run_id=run.run_id)
        name = run_name(run.job_id, run.run_id)
        active.task = asyncio.create_task(self._run(active, config), name=name)

    def cancel(self, run_id: str, *, reason: str, by_shutdown: bool = False) -> None:
        """Cancel a run; its outcome states the `reason`."""
        active = self._active.get(run_id)
        if active is not None and active.reason is None:
            active.reason, active.by_shutdown = reason, by_shutdown
            # A task that is cancelled before its first step would never report its end.
            if active.task is not None and active.started_at is not None:
                active.task.cancel()
                self._set_alarm(active)

    async def drain(self, budget_s: float) -> None:
        """Wait up to `budget_s` seconds for the runs in progress, then cancel the rest and let them clean up.

        Handlers that have not ended some seconds later are abandoned.
        """
        tasks = [active.task for active in self._active.values() if active.task is not None]
        if not tasks:
            return
        log.info("draining", runs=len(tasks), budget_s=budget_s)
        _, late = await asyncio.wait(tasks, timeout=budget_s)
        if late:
            for run_id in list(self._active):
                self.cancel(run_id, reason="the replica stopped", by_shutdown=True)
            await asyncio.wait(late, timeout=_CLEAN_UP_S)
            for active in list(self._active.values()):
                self._abandon(active)

    async def close(self) -> None:
        """Close the shared resources. Call when only abandoned handlers may still run."""
        await self._shared.close()

    async def _run(self, active: _Active, config: Callable[[], ConfigInForce] | None) -> None:
        run, job = active.run, active.job
        active.started_at, active.began = self._clock.now(), self._clock.monotonic()
        end = _HandlerEnd(RunState.CANCELLED)
        try:
            if active.reason is None:
                if job.timeout_s is not None:
                    self._set_alarm(active, after_s=job.timeout_s)
                active.trace = self._traces.begin_run(run)
                self._announce(run, active.started_at, active.trace)
                end = await self._attempt(active, config)
        except GeneratorExit as error:
            # Raised by something that the handler awaited; Python throws it into the outermost coroutine.
            end = _HandlerEnd(RunState.FAILED, error, active.config_revision, active.secrets)
        finally:
            if active.reason is not None and end.state is RunState.FAILED:
                end = replace(end, state=RunState.CANCELLED)  # it failed because it was cancelled
            self._conclude(active, end)

    def _conclude(self, active: _Active, end: _HandlerEnd) -> None:
        """Report the end of a run, once."""
        run, job = active.run, active.job
        if self._active.get(run.run_id) is not active:
            return
        del self._active[run.run_id]
        if active.alarm is not None:
            active.alarm.cancel()
        finished_at = self._clock.now()
        duration_s = self._clock.monotonic() - active.began
        self._metrics.job_duration.observe(
            run.job_id, duration_s, run_id=run.run_id, trace_id=active.trace.kept_as, at=finished_at
        )
        text = kind = None
        if end.state is not RunState.SUCCESS:
            text, kind = describe(
                end.state, end.failure, reason=active.reason, timeout_s=job.timeout_s, secrets=end.secrets
            )
        active.trace.end(state=end.state.value, error_type=kind, failed=end.state in FAILED_STATES)
        if active.trace.traceparent is not None:  # the next attempt goes on from here
            run = replace(run, traceparent=active.trace.traceparent)
        ending = Ending(
            run=run,
            job=job,
            fence=active.fence,
            state=end.state,
            started_at=active.started_at or finished_at,
            finished_at=finished_at,
            duration_s=duration_s,
            config_revision=end.config_revision,
            error_type=kind,
            error=text,
            by_shutdown=active.by_shutdown,
            result=end.result,
        )
        if self._logs is not None and active.log is not None:
            self._logs.end(active.log, end.state)
        self._log_end(ending, active.trace.trace_id)
        self._ended(ending)

    def _set_alarm(self, active: _Active, *, after_s: float = 0.0) -> None:
        """Schedule `_abandon` for when the handler should have ended and its resources should be closed."""
        if active.alarm is not None:
            active.alarm.cancel()
        closing_s = RELEASE_S * len(active.job.definition.resources)
        delay_s = after_s + self._abandon_after_s + closing_s
        active.alarm = asyncio.get_running_loop().call_later(delay_s, self._abandon, active)

    def _abandon(self, active: _Active) -> None:
        """Give up a handler that does not end, and report its run as ended."""
        task, run = active.task, active.run
        if task is None or task.done():
            return
        where = standing(task)
        log.error("handler_abandoned", job_id=run.job_id, run_id=run.run_id, where=where)
        self._metrics.handlers_abandoned.labels(run.job_id).inc()
        self._abandoned.add(task)
        task.add_done_callback(self._abandoned.discard)
        task.cancel()  # once more: it may have swallowed the first one by mistake
        state = RunState.TIMEOUT if active.reason is None else RunState.CANCELLED
        failure = HandlerGoesOnError(
            f"the handler continues although it was cancelled, at {where}; its results do not count any "
            "more, and "
            "only the end of the process ends it: let it re-raise asyncio.CancelledError"
        )
        self._conclude(active, _HandlerEnd(state, failure, active.config_revision, active.secrets))

    def _announce(self, run: Run, started_at: datetime, trace: RunTrace) -> None:
        if run.trigger_type is not TriggerType.BACKFILL:  # its window is old, not late
            delay_s = (started_at - run.scheduled_time).total_seconds()
            self._metrics.job_start_delay.observe(
                run.job_id, max(delay_s, 0.0), run_id=run.run_id, trace_id=trace.kept_as, at=started_at
            )
        self._lines.started(
            job_id=run.job_id,
            run_id=run.run_id,
            attempt=run.attempt,
            scheduled_time=run.scheduled_time,
            trace_id=trace.trace_id,
        )

    def _log_end(self, ending: Ending, trace_id: str | None) -> None:
        """Log the end of a run; a failure at error level, with its type, message and traceback."""
        run, state, duration_s = ending.run, ending.state.value, ending.duration_s
        if ending.error is None and ending.state not in FAILED_STATES:
            self._lines.ended(
                job_id=run.job_id,
                run_id=run.run_id,
                state=state,
                attempt=run.attempt,
                duration_s=duration_s,
                trace_id=trace_id,
            )
            return
        self._lines.failed(
            job_id=run.job_id,
            run_id=run.run_id,
            state=state,
            attempt=run.attempt,
            duration_s=duration_s,
            error=ending.error,
            as_error=ending.state in FAILED_STATES,
            trace_id=trace_id,
        )

    async def _attempt(self, active: _Active, give: Callable[[], ConfigInForce] | None) -> _HandlerEnd:
        """Call the handler. Never raises: exceptions become the outcome."""
        run, job = active.run, active.job
        revision, secrets = None, self._configs.secrets
        context: JobContext | None = None

        def result(returned: object = None) -> str | None:
            if context is None or (not context.recorded and returned is None):
                return None
            return kept_result(
                returned, context.recorded, job_id=run.job_id, run_id=run.run_id, secrets=secrets
            )

        lines = active.log if self._logs is not None and self._logs.keeps_lines else None
        limit: asyncio.Timeout | None = None
        try:
            with of_run(
                job_id=run.job_id,
                run_id=run.run_id,
                attempt=run.attempt,
                trace_id=active.trace.trace_id,
                log=lines,
            ):
                if give is None:
                    now = active.started_at or self._clock.now()
                    config = self._configs.in_force(job.definition, now, overrides=run.config_overrides)
                else:
                    config = give()
                secrets = active.secrets = secrets | config.secrets
                revision = active.config_revision = config.revision
                if active.log is not None:
                    active.log.secrets = secrets
                context = _context(run, config, active.log, write=self._write)
                if job.timeout_s is None and not job.definition.resources:
                    returned = await job.definition.handler(context, run.scheduled_time)
                else:
                    limit = asyncio.timeout(job.timeout_s)
                    # It covers the run. Closing its resources comes after that, with limits of its own.
                    async with RunResources(shared=self._shared) as resources, limit:
                        acquired = await resources.acquire(job.definition.resources, context)
                        returned = await job.definition.handler(context, run.scheduled_time, **acquired)
                kept = result(returned)
        except asyncio.CancelledError as error:
            # Otherwise something that the handler awaited was cancelled, not this run.
            state = RunState.CANCELLED if _is_being_cancelled() else RunState.FAILED
            return _HandlerEnd(state, error, revision, secrets, result())
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its run's outcome
            state = RunState.TIMEOUT if limit and limit.expired() else RunState.FAILED
            return _HandlerEnd(state, error, revision, secrets, result())
        # A handler that swallows its cancellation and returns has timed out too.
        return _HandlerEnd(
            RunState.TIMEOUT if limit and limit.expired() else RunState.SUCCESS, None, revision, result=kept
        )


async def _write(enqueue: Enqueue, ctx: JobContext, sink: str, key: str, payload: Any) -> None:
    """Have `enqueue` take one record of the run of `ctx`."""
    await enqueue(
        WriteIntent(
            sink=sink,
            key=key,
            payload=payload,
            job_id=ctx.job_id,
            run_id=ctx.run_id,
            scheduled_time=ctx.scheduled_time,
        )
    )


def _context(
    run: Run, config: ConfigInForce, log: RunLog | None, *, write: Callable[..., Awaitable[None]] | None
) -> JobContext:
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
        _log=_JOB_LOG,
        _advance=None if log is None else log.advance,
        _write=write,
    )


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
