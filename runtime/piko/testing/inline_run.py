"""One run of one handler, in this process and without a database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import BaseModel

from piko.app import PikoApp
from piko.catalog.configs import ConfigBook, ConfigInForce
from piko.catalog.jobs import Job
from piko.catalog.typed_config import secrets_in, typed_config
from piko.clock import SystemClock
from piko.core.registry import JobDefinition
from piko.core.resource import ResourceSource
from piko.core.types import DataInterval, RunState, TriggerType
from piko.errors import ConfigError, InputError, PikoError, did_you_mean
from piko.execution.executor import Executor
from piko.execution.outcome import Ending
from piko.model.fences import InstanceFence
from piko.model.runs import Run
from piko.model.schedules import ScheduleRow
from piko.observability.metrics import Metrics
from piko.persistence.intent import WriteIntent
from piko.schedule import parse_schedule
from piko.testing.instants import Instant, instant, window_of

_RUN_ID = "run-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """How a run ended, and what it left.

    `error` is the message with its traceback, as in `job_run.error`. `result` is what the handler recorded
    and returned. `intents` are the records that it wrote, by sink.
    """

    job_id: str
    state: RunState
    error: str | None
    error_type: str | None
    result: Mapping[str, Any]
    intents: Mapping[str, Sequence[WriteIntent]]

    @property
    def succeeded(self) -> bool:
        return self.state is RunState.SUCCESS

    def payloads(self, sink: str) -> list[Any]:
        """What was written to `sink`, in order; empty if nothing was."""
        return [intent.payload for intent in self.intents.get(sink, ())]


def run_job(
    app: PikoApp,
    job_id: str,
    *,
    window: DataInterval | tuple[Instant, Instant] | str | None = None,
    scheduled_time: Instant | None = None,
    config: Mapping[str, Any] | BaseModel | None = None,
    resources: Mapping[str, Any] | None = None,
    attempt: int = 1,
) -> FinishedRun:
    """Run the handler of `job_id` once, here and now, as a replica would.

    - `app`: the app that declares the job.
    - `job_id`: the job.
    - `window`: the window of a stateful job: `"2026-03-01T00:00Z/2026-03-02T00:00Z"`, two instants, or a
      `DataInterval`.
    - `scheduled_time`: the due time; by default the end of the window, or now.
    - `config`: what the job is configured with; by default its model's defaults.
    - `resources`: values for parameters of the handler, in place of the resources that the job declares; the
      others are opened as they are.
    - `attempt`: the number of this attempt, from 1.

    What a handler raises is its outcome, and is not raised here. Sinks check what is written, and do not
    write it. Raises `InputError` where the arguments do not fit the job, `ConfigError` where the config does
    not, and `PikoError` in a running event loop.
    """
    definition = _definition(app, job_id, resources or {})
    covered = window_of(window)
    if definition.stateful and covered is None:
        example = 'window="2026-03-01T00:00Z/2026-03-02T00:00Z"'
        raise InputError(f"run_job({job_id!r}): the job is stateful, so it needs a window: {example}")
    if covered is not None and not definition.stateful:
        raise InputError(f"run_job({job_id!r}): the job is not stateful; leave `window` out")
    given = _config(definition, config)
    if scheduled_time is not None:
        due = instant(scheduled_time)
    else:
        due = SystemClock().now().replace(microsecond=0) if covered is None else covered.end
    run = Run(
        run_id=_RUN_ID,
        job_id=definition.job_id,
        scheduled_time=due,
        state=RunState.RUNNING,
        attempt=attempt,
        trigger_type=TriggerType.SCHEDULE if attempt == 1 else TriggerType.RETRY,
        window=covered,
    )
    if _in_a_loop():
        raise PikoError(
            "run_job() was called in a running event loop, and it starts one of its own: call it from a "
            "plain test, or as `await asyncio.to_thread(run_job, …)`"
        )
    return asyncio.run(_run(app, _job(definition, run), run, given))


def _in_a_loop() -> bool:
    with suppress(RuntimeError):
        return asyncio.get_running_loop() is not None
    return False


async def _run(app: PikoApp, job: Job, run: Run, config: ConfigInForce | None) -> FinishedRun:
    ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
    intents: dict[str, list[WriteIntent]] = {}
    book = ConfigBook(registry=app.registry)
    executor = Executor(
        app_name=app.name,
        configs=book,
        clock=SystemClock(),
        metrics=Metrics(),
        ended=ended.set_result,
        enqueue=app.writer.enqueue,
    )
    with app.writer.diverted(lambda intent: intents.setdefault(intent.sink, []).append(intent)):
        executor.start(
            run,
            job,
            InstanceFence(instance_id="test", epoch=1),
            config=None if config is None else lambda: config,
        )
        ending = await ended
        await executor.close()
        await app.cpu_manager.stop()
    return FinishedRun(
        job_id=run.job_id,
        state=ending.state,
        error=ending.error,
        error_type=ending.error_type,
        result={} if ending.result is None else json.loads(ending.result),
        intents=intents,
    )


def _definition(app: PikoApp, job_id: str, resources: Mapping[str, Any]) -> JobDefinition:
    """The job, with the values of `resources` in place of what it declares."""
    app.used = True
    definition = app.registry.get(job_id)
    known = [job.job_id for job in app.registry]
    if definition is None:
        near = did_you_mean(job_id, known) or f"; it has {', '.join(known) or 'none'}"
        raise InputError(f"app {app.name!r} has no job {job_id!r}{near}")
    for name in resources:
        if name not in definition.resources:
            names = ", ".join(definition.resources) or "none"
            raise InputError(f"run_job({job_id!r}): the job has no resource {name!r}; it has {names}")
    handed = {name: _handed(value) for name, value in resources.items()}
    return replace(definition, resources={**definition.resources, **handed})


def _handed(value: Any) -> ResourceSource:
    """A resource that yields `value`."""

    @asynccontextmanager
    async def hand() -> AsyncGenerator[Any, None]:
        yield value

    return hand


def _config(definition: JobDefinition, config: Mapping[str, Any] | BaseModel | None) -> ConfigInForce | None:
    """None: the job's defaults."""
    if config is None:
        return None
    if isinstance(config, BaseModel):
        if definition.schema is None or not isinstance(config, definition.schema):
            expected = "a dict" if definition.schema is None else definition.schema.__name__
            raise ConfigError(
                f"job {definition.job_id!r}: config is a {type(config).__name__}; expected {expected}"
            )
        return ConfigInForce(revision=1, value=config, secrets=secrets_in(config))
    value = typed_config(definition.schema, json.dumps(dict(config)), None)
    return ConfigInForce(revision=1, value=value, secrets=secrets_in(value))


def _job(definition: JobDefinition, run: Run) -> Job:
    """The job as a row that fires once would declare it."""
    row = ScheduleRow(
        job_id=definition.job_id,
        schedule_type="date",
        schedule_expr=json.dumps({"run_date": run.scheduled_time.isoformat()}),
        version=1,
        last_data_time=None,
        completed_at=None,
        created_at=run.scheduled_time,
        updated_at=run.scheduled_time,
    )
    schedule = parse_schedule(
        job_id=row.job_id,
        schedule_type=row.schedule_type,
        schedule_expr=row.schedule_expr,
        timezone="UTC",
        start_at=None,
        end_at=None,
    )
    return Job(row=row, definition=definition, schedule=schedule)
