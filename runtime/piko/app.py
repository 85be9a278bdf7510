"""An application: the jobs that its code declares, and the one object with which they are run."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cached_property
from typing import TypeVar

from fastapi import FastAPI
from pydantic import BaseModel

from piko.clock import Clock, SystemClock
from piko.compute.cpu import CpuManager
from piko.core.registry import Handler, JobDefinition, JobRegistry
from piko.core.resource import ResourceSource
from piko.core.types import BackfillPolicy
from piko.errors import PikoError, RegistrationError, SettingsError
from piko.observability.logs import configure_logging, get_logger
from piko.observability.metrics import Metrics
from piko.ops.http import Lifespan, ops_app
from piko.ops.server import Front, HttpServer, listen
from piko.persistence.writer import PersistenceWriter
from piko.runtime import Runtime, first_of
from piko.settings import Settings, load_settings

H = TypeVar("H", bound=Handler)

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
        self.metrics = Metrics()
        self.cpu_manager = CpuManager(metrics=self.metrics)
        self._settings = settings
        self._clock = clock or SystemClock()
        self.writer = PersistenceWriter(clock=self._clock, metrics=self.metrics)
        self._runtime: Runtime | None = None

    def job(
        self,
        job_id: str,
        *,
        schema: type[BaseModel] | None = None,
        resources: Mapping[str, ResourceSource] | None = None,
        stateful: bool = False,
        backfill_policy: BackfillPolicy = BackfillPolicy.CATCH_UP,
        timeout_s: float | None = None,
        max_attempts: int = 1,
    ) -> Callable[[H], H]:
        """Register `async def handler(ctx, scheduled_time, **resources)` under `job_id`.

        `schema` is the model of `ctx["config"]`. `resources` maps a parameter of the handler to the class,
        instance or function that provides it. A `stateful` job gets `ctx["data_interval"]`, and
        `backfill_policy` says what it does about windows it has missed. `timeout_s` (seconds) and
        `max_attempts` hold where the job's row says nothing.

        Raises `RegistrationError` at once for what could not run: a handler that is not async, an id that is
        taken or malformed, a signature that does not fit.
        """

        def register(handler: H) -> H:
            self.registry.register(
                JobDefinition(
                    job_id=job_id,
                    handler=handler,
                    schema=schema,
                    resources=dict(resources or {}),
                    stateful=stateful,
                    backfill_policy=BackfillPolicy(backfill_policy),
                    timeout_s=timeout_s,
                    max_attempts=max_attempts,
                )
            )
            return handler

        return register

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
            configure_logging(log_format=settings.log_format, debug=settings.debug)
            async with self.running(settings):
                yield

        return self._ops_app(lifespan)

    def _ops_app(self, lifespan: Lifespan | None = None) -> FastAPI:
        return ops_app(
            name=self.name, replica=lambda: self._runtime, metrics=self.metrics.registry, lifespan=lifespan
        )

    @asynccontextmanager
    async def running(self, settings: Settings | None = None) -> AsyncIterator[Runtime]:
        """Run the jobs while the block lasts; at its end drain and stop. Serves no HTTP.

        Raises `SettingsError`; and `PikoError` where this app runs already.
        """
        if self._runtime is not None:
            raise PikoError(f"PikoApp {self.name!r} is running already; one process runs it once")
        settings = settings or self._load_settings()
        self.cpu_manager.configure(settings)
        self._runtime = runtime = Runtime(
            app_name=self.name,
            registry=self.registry,
            writer=self.writer,
            settings=settings,
            clock=self._clock,
            metrics=self.metrics,
        )
        life = asyncio.create_task(runtime.run(), name=f"runtime of {self.name}")
        try:
            yield runtime
        finally:
            runtime.stop()
            try:
                await life
            finally:
                await self.cpu_manager.stop()  # only abandoned handlers could still wait for it
                self._runtime = None

    def run(self) -> None:
        """Run the jobs and serve probes and metrics until SIGTERM or SIGINT, then drain and return.

        Settings that cannot work end the process with exit code 2 and one message on stderr.
        """
        try:
            settings = self._load_settings()
            configure_logging(log_format=settings.log_format, debug=settings.debug)
            asyncio.run(self._serve(settings))
        except PikoError as error:
            sys.stderr.write(f"piko: {error}\n")
            raise SystemExit(2) from None

    async def _serve(self, settings: Settings) -> None:
        asked_to_stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, asked_to_stop.set)
        server = HttpServer(Front(probes=self._ops_app(), app=self.api_app, loop=loop))
        with listen(settings.http_host, settings.http_port) as listening:
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve(listening), name="http")
                host, port = listening.getsockname()[:2]
                log.info("listening", host=host, port=port)
                async with self.running(settings) as runtime:
                    await first_of(asked_to_stop.wait(), runtime.ended.wait())
                server.stop()
        if left := runtime.dispatcher.executor.abandoned:
            _leave_behind(left)

    def _load_settings(self) -> Settings:
        return self._settings or load_settings()


def _leave_behind(handlers: int) -> None:
    """End the process although handlers go on, for which the event loop would wait for ever."""
    log.error("handlers_left_behind", handlers=handlers)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # nobody may be there to read any more
            stream.flush()
    os._exit(0)
