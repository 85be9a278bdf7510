"""An application: the jobs that its code declares, and the one object with which they are run."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar, overload

from pydantic import BaseModel

from piko.background.waiting import first_of
from piko.clock import Clock, SystemClock
from piko.compute.cpu import CpuManager
from piko.core.declaration import check_names, place
from piko.core.hooks import HookEvent, Hooks, JobFailure, JobLateness, JobRecovery
from piko.core.registry import Declares, Handler, JobDefinition, JobRegistry
from piko.core.resource import ResourceSource
from piko.core.types import BackfillPolicy, Objective
from piko.errors import PikoError, RegistrationError, SettingsError
from piko.event_loop import check_place, run_to_end
from piko.execution.threads import MOST, HandlerThreads
from piko.loading import load_replica
from piko.observability.logs import configure_logging, get_logger
from piko.observability.metrics import Metrics
from piko.observability.printed import prints_as_events
from piko.ops.front import Front
from piko.ops.http import replica_probes
from piko.persistence.writer import PersistenceWriter
from piko.serving.listening import listen
from piko.serving.probes import Probes
from piko.settings import Settings, load_settings
from piko.signals import StopSignals, leave
from piko.unrun import remind_at_exit

if TYPE_CHECKING:
    from fastapi import FastAPI

    from piko.replica.running import RunningReplica

__all__ = ["PikoApp"]

_THREADS_S = 5.0
_NO_JOBS = (
    "declare jobs with @app.job, and import their modules before the start, with autodiscover for instance"
)

_ARGUMENTS = (
    "job_id",
    "schema",
    "resources",
    "stateful",
    "backfill_policy",
    "timeout_s",
    "max_attempts",
    "objective",
)

H = TypeVar("H", bound=Handler)
M = TypeVar("M", bound=BaseModel)
OnFailure = TypeVar("OnFailure", bound=Callable[[JobFailure], Awaitable[object]])
OnLate = TypeVar("OnLate", bound=Callable[[JobLateness], Awaitable[object]])
OnRecovered = TypeVar("OnRecovered", bound=Callable[[JobRecovery], Awaitable[object]])

_LONGEST_NAME = 255

log = get_logger(__name__)


class PikoApp:
    """Declares jobs and runs them.

    Example:
        app = PikoApp(name="demo")

        @app.job(job_id="hello")
        async def hello(ctx, scheduled_time):
            print("hello", ctx["run_id"], scheduled_time)

        if __name__ == "__main__":
            app.run()

    Settings are read when the app starts, not when it is made: importing a module of jobs needs none.
    """

    def __init__(
        self, name: str = "piko", *, settings: Settings | None = None, clock: Clock | None = None
    ) -> None:
        if not 1 <= len(name) <= _LONGEST_NAME:
            raise RegistrationError(
                f"PikoApp(name={name[:40]!r}…): the name has {len(name)} characters; 1 to {_LONGEST_NAME} "
                "fit its column"
            )
        self.name = name
        self.registry = JobRegistry()
        self.hooks = Hooks()
        self.metrics = Metrics()
        self.cpu_manager = CpuManager(metrics=self.metrics)
        self._settings = settings
        self._clock = clock or SystemClock()
        self.writer = PersistenceWriter(clock=self._clock, metrics=self.metrics)
        self._replica: RunningReplica | None = None
        self.used = False
        """Whether anybody has run or served it."""
        remind_at_exit(self, made_by=sys._getframe(1))

    @overload
    def job(self, handler: H, /) -> H: ...
    @overload
    def job(
        self,
        job_id: str | None = None,
        *,
        schema: type[M],
        resources: Mapping[str, ResourceSource] | None = None,
        stateful: bool = False,
        backfill_policy: BackfillPolicy = BackfillPolicy.CATCH_UP,
        timeout_s: float | None = None,
        max_attempts: int = 1,
        objective: Objective | None = None,
    ) -> Declares[M]: ...
    @overload
    def job(
        self,
        job_id: str | None = None,
        *,
        schema: None = None,
        resources: Mapping[str, ResourceSource] | None = None,
        stateful: bool = False,
        backfill_policy: BackfillPolicy = BackfillPolicy.CATCH_UP,
        timeout_s: float | None = None,
        max_attempts: int = 1,
        objective: Objective | None = None,
    ) -> Callable[[H], H]: ...
    def job(
        self,
        job_id: str | H | None = None,
        *,
        schema: type[BaseModel] | None = None,
        resources: Mapping[str, ResourceSource] | None = None,
        stateful: bool = False,
        backfill_policy: BackfillPolicy = BackfillPolicy.CATCH_UP,
        timeout_s: float | None = None,
        max_attempts: int = 1,
        objective: Objective | None = None,
        **unknown: object,
    ) -> Any:
        """Register `async def handler(ctx, scheduled_time, **resources)` as a job.

        Works with and without parentheses.

        - `job_id`: 1 to 128 of `A-Z a-z 0-9 _ . : -`; by default the handler's name.
        - `schema`: the Pydantic model of `ctx["config"]`; by default the config is a plain dict.
        - `resources`: for each further parameter of the handler, the class, instance or function that
          provides it.
        - `stateful`: whether each run covers a window of data, `ctx["data_interval"]`.
        - `backfill_policy`: what a stateful job does about missed windows, unless its row sets it.
        - `timeout_s`: seconds after which a run is cancelled, unless the row sets it; None: never.
        - `max_attempts`: attempts at one due time, unless the row sets it.
        - `objective`: how fresh its data is to be, where the row says nothing.

        Raises `RegistrationError` at once if the job could not run: the handler is not async, the id is taken
        or malformed, the signature does not fit, or an argument is not what it should be.
        """

        def register(handler: H) -> H:
            name: Any = _name_of(handler) if job_id is None or callable(job_id) else job_id
            check_names(unknown, known=_ARGUMENTS, where=place(name, handler))
            self.registry.register(
                JobDefinition(
                    job_id=name,
                    handler=handler,
                    schema=schema,
                    resources={} if resources is None else resources,
                    stateful=stateful,
                    backfill_policy=_policy(backfill_policy),
                    timeout_s=timeout_s,
                    max_attempts=max_attempts,
                    objective=Objective() if objective is None else objective,
                )
            )
            return handler

        return register(job_id) if callable(job_id) else register

    @overload
    def on_failure(self, hook: OnFailure, /) -> OnFailure: ...
    @overload
    def on_failure(self, *jobs: str) -> Callable[[OnFailure], OnFailure]: ...
    def on_failure(self, *jobs: Any) -> Any:
        """Have `async def hook(failure: JobFailure)` called when a job begins to fail.

        That is once for each row of failures: when a run has failed, no attempt is left, and no run before it
        had since the last success. Works with and without parentheses. `jobs`: ids, or patterns of ids such
        as `"orders-*"`, of the jobs that it is called for; none: all.

        The replica that leads calls it, at least once for each change. Raises `RegistrationError` at once if
        it could not be called.
        """
        return self.hooks.declare(HookEvent.FAILURE, jobs)

    @overload
    def on_late(self, hook: OnLate, /) -> OnLate: ...
    @overload
    def on_late(self, *jobs: str) -> Callable[[OnLate], OnLate]: ...
    def on_late(self, *jobs: Any) -> Any:
        """Have `async def hook(lateness: JobLateness)` called when a job has not kept its objective.

        That is once when the deadline has passed, until the job keeps all its objectives again. Otherwise as
        `on_failure`.
        """
        return self.hooks.declare(HookEvent.LATE, jobs)

    @overload
    def on_recovered(self, hook: OnRecovered, /) -> OnRecovered: ...
    @overload
    def on_recovered(self, *jobs: str) -> Callable[[OnRecovered], OnRecovered]: ...
    def on_recovered(self, *jobs: Any) -> Any:
        """Have `async def hook(recovery: JobRecovery)` called when a job succeeds, or is fresh, again.

        Otherwise as `on_failure`.
        """
        return self.hooks.declare(HookEvent.RECOVERED, jobs)

    @cached_property
    def api_app(self) -> FastAPI:
        """The probes and metrics as an ASGI application; serving it (`uvicorn app:api_app`) runs the jobs."""

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            try:
                settings = self._load_settings()
            except SettingsError as error:
                # The ASGI server will show a traceback; this says it plainly.
                sys.stderr.write(f"piko: {error}\n")
                raise
            logging = configure_logging(log_format=settings.log_format, debug=settings.debug)
            with prints_as_events(logging):
                async with self.running(settings):
                    yield

        self.used = True
        # FastAPI takes a quarter of a second to import: who runs jobs and adds no routes need not pay for it.
        from piko.ops.api import make_api_app

        return make_api_app(name=self.name, probes=self._probes, lifespan=lifespan)

    @cached_property
    def _probes(self) -> Probes:
        return replica_probes(replica=lambda: self._replica, metrics=self.metrics.registry)

    @asynccontextmanager
    async def running(self, settings: Settings | None = None) -> AsyncIterator[RunningReplica]:
        """Run the jobs while the block lasts; at its end drain and stop. Serves no HTTP.

        Raises `SettingsError`; and `PikoError` where this app runs already.
        """
        if self._replica is not None:
            raise PikoError(f"PikoApp {self.name!r} is running already; one process runs it once")
        self.used = True
        # Most of what a replica needs: a test of a handler, or a program that declares jobs, does without.
        from piko.replica.composition import compose
        from piko.replica.replica import Replica

        settings = settings or self._load_settings()
        asyncio.get_running_loop().set_default_executor(self._threads_for(settings))
        self._place_computing(settings)
        self.metrics.per_job = settings.metrics_per_job
        parts = compose(
            app_name=self.name,
            registry=self.registry,
            hooks=self.hooks,
            writer=self.writer,
            settings=settings,
            clock=self._clock,
            metrics=self.metrics,
        )
        self._replica = replica = Replica(parts=parts)
        if not len(self.registry):
            log.warning("no_jobs", app=self.name, remedy=_NO_JOBS)
        life = asyncio.create_task(replica.run(), name=f"replica of {self.name}")
        try:
            yield replica
        finally:
            replica.stop()
            try:
                await life
            finally:
                await self.cpu_manager.stop()  # only abandoned handlers could still wait for it
                self._replica = None

    def run(self) -> None:
        """Run the jobs and serve probes and metrics until SIGTERM or SIGINT, then drain and return.

        A second signal ends the process at once. Settings that cannot work end it with exit code 2 and one
        message on stderr. Raises `PikoError` off the main thread, and in a running event loop.
        """
        self.used = True
        check_place()
        try:
            settings = self._load_settings()
            logs = configure_logging(log_format=settings.log_format, debug=settings.debug)
            with prints_as_events(logs), StopSignals(last_words=self._cut_short) as signals:
                load_replica(settings.mysql_dsn.get_secret_value(), page=settings.web_enabled)
                run_to_end(self._serve(settings, signals))
        except PikoError as error:
            sys.stderr.write(f"piko: {error}\n")
            raise SystemExit(2) from None

    async def _serve(self, settings: Settings, signals: StopSignals) -> None:
        from piko.serving.server import HttpServer

        front = Front(
            probes=self._probes,
            app=self.__dict__.get("api_app"),  # unless user code has accessed it, it has only the probes
            loop=asyncio.get_running_loop(),
        )
        server = HttpServer(front, clock=self._clock, dropped=self.metrics.http_connections_dropped)
        with listen(settings.http_host, settings.http_port) as listening:
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve(listening), name="http")
                host, port = listening.getsockname()[:2]
                log.info("listening", host=host, port=port)
                async with self._page(settings), self.running(settings) as replica:
                    await first_of(signals.wait(), replica.ended())
                server.stop()
        left = replica.abandoned
        if left or not await self._threads.idle(within_s=_THREADS_S):
            log.error("tasks_left_behind", tasks=left, calls_in_threads=self._threads.calls)
            logging.shutdown()
            leave(0)

    @asynccontextmanager
    async def _page(self, settings: Settings) -> AsyncIterator[None]:
        """Serve the API and the page beside the jobs, if the settings say so. It ends after the jobs."""
        if not settings.web_enabled:
            yield
            return
        # As above: who does not serve them need not pay for their import.
        from piko.web.options import web_settings
        from piko.web.server import serving_web

        web, registry = web_settings(settings), self.metrics.registry
        with listen(settings.web_host, settings.web_port, setting="web") as listening:
            async with serving_web(web, listening, clock=self._clock, registry=registry):
                yield

    def _cut_short(self) -> str:
        running = 0 if self._replica is None else self._replica.runs_in_progress
        if not running:
            return "no handler was running"
        return f"runs in progress: {running}; they count as lost, and run again where attempts are left"

    def _threads_for(self, settings: Settings) -> HandlerThreads:
        threads = settings.handler_threads or min(settings.max_concurrent_runs, MOST)
        self._threads = HandlerThreads(threads=threads)
        self.metrics.handler_thread_calls.set_function(lambda: self._threads.calls)
        return self._threads

    def _place_computing(self, settings: Settings) -> None:
        if settings.dask_address is not None and settings.cpu_backend == "dask":
            self.cpu_manager.use_dask(settings.dask_address)
        else:
            self.cpu_manager.use_processes(
                workers=settings.cpu_workers, max_tasks_per_child=settings.cpu_max_tasks_per_child
            )

    def _load_settings(self) -> Settings:
        return self._settings or load_settings()


def _name_of(handler: object) -> str:
    return str(getattr(handler, "__name__", type(handler).__name__))


def _policy(given: BackfillPolicy) -> BackfillPolicy:
    """The policy of that name; anything else is as it is given, and refused with the job."""
    return BackfillPolicy(given) if given in list(BackfillPolicy) else given
