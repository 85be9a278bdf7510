"""Opens and closes resources: around one run, or once for the life of the app.

The handler decides the outcome of its run. A resource cannot hide that, neither by swallowing the exception
that it receives nor by failing itself. Every opened resource is closed, in reverse order and each within a
time limit of its own, and one that fails to close does not keep the others open. If closing fails after a
handler that succeeded, the run fails: something promised at the close, such as a commit, did not happen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from piko.background.closing import WITHIN_S, ClosingStack
from piko.core.context import JobContext
from piko.core.resource import AppContext, ResourceSource, described, opened, scope_of
from piko.errors import ResourceError
from piko.observability.bindings import of_no_run
from piko.observability.logs import get_logger
from piko.text import error_text
from piko.tracing.traces import NO_TRACES, Traces

RELEASE_S = 30.0

log = get_logger(__name__)


class AppResources:
    """Resources of scope `app`: each is opened by the first run that needs it and closed by `close`.

    Each is held by a task of its own, so that the task that opened it closes it, and it outlives the run.
    """

    def __init__(self, *, app_name: str, traces: Traces = NO_TRACES, release_s: float = RELEASE_S) -> None:
        self._context = AppContext(app_name)
        self._traces = traces
        self._release_s = release_s
        self._holders: dict[int, _Holder] = {}
        self._given_up: list[_Holder] = []

    async def value(self, source: ResourceSource) -> Any:
        """The value that `source` yields. One that failed to open is tried again by the next run."""
        holder = self._holders.get(id(source))
        if holder is None or holder.failed:
            holder = self._holders[id(source)] = _Holder(
                source, self._context, traces=self._traces, release_s=self._release_s
            )
        return await asyncio.shield(holder.opened)

    @property
    def abandoned(self) -> int:
        """Resources whose release continues although it was given up."""
        return sum(holder.goes_on for holder in self._given_up)

    async def close(self) -> None:
        """Close all, the latest first. Failures are logged, because no run is left to report them."""
        stack = ClosingStack()
        for holder in self._holders.values():
            stack.push(holder.what, holder.close, within_s=min(self._release_s, WITHIN_S))
        self._given_up.extend(self._holders.values())
        self._holders.clear()
        await stack.close()


class RunResources:
    """The resources of one run, as an async context manager around its handler.

    Raises `ResourceError` if a resource fails to close after a handler that succeeded.
    """

    def __init__(self, *, shared: AppResources, release_s: float = RELEASE_S) -> None:
        self._shared = shared
        self._release_s = release_s
        self._open: list[tuple[str, AbstractAsyncContextManager[Any]]] = []

    async def acquire(self, sources: Mapping[str, ResourceSource], ctx: JobContext) -> dict[str, Any]:
        """Open each of `sources` in order. Raises `ResourceError`, which names the one that failed."""
        values: dict[str, Any] = {}
        for name, source in sources.items():
            try:
                if scope_of(source) == "app":
                    values[name] = await self._shared.value(source)
                else:
                    manager = opened(source, ctx)
                    values[name] = await manager.__aenter__()
                    self._open.append((f"resource {name!r} ({described(source)})", manager))
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                raise ResourceError(
                    f"resource {name!r} ({described(source)}) could not be acquired: {error_text(error)}"
                ) from error
        return values

    async def __aenter__(self) -> RunResources:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        failures: list[ResourceError] = []
        cut_off: asyncio.CancelledError | None = None
        while self._open:
            what, manager = self._open.pop()
            try:
                await _release(what, manager, error, within_s=self._release_s)
            except asyncio.CancelledError as cancelled:
                cut_off = cancelled
            except ResourceError as failure:
                log.error("resource_not_released", resource=what, error=str(failure))
                failures.append(failure)
        if error is not None:
            for unreleased in failures:
                error.add_note(str(unreleased))
        elif cut_off is not None:
            raise cut_off
        elif failures:
            raise failures[0]


class _Holder:
    """Opens a resource in a task of its own and keeps it open until `close`."""

    def __init__(
        self, source: ResourceSource, context: AppContext, *, traces: Traces, release_s: float
    ) -> None:
        self.what = f"resource {described(source)} of scope 'app'"
        self._source = source  # referenced, so that its id is not reused
        self._release_s = release_s
        self._enough = asyncio.Event()
        self.opened: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.opened.add_done_callback(_seen)
        # It outlives the run that requested it first, so its log lines and spans must not be of that run.
        outside = of_no_run()
        outside.run(traces.leave_run)
        self._task = asyncio.create_task(self._hold(context), name=self.what, context=outside)

    @property
    def failed(self) -> bool:
        return self.opened.done() and (self.opened.cancelled() or self.opened.exception() is not None)

    async def close(self) -> None:
        self._enough.set()
        if not self.opened.done():
            self._task.cancel()
        try:
            await asyncio.wait({self._task})
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    @property
    def goes_on(self) -> bool:
        return not self._task.done()

    async def _hold(self, context: AppContext) -> None:
        try:
            manager = opened(self._source, context)
            value = await manager.__aenter__()
        except asyncio.CancelledError:
            self.opened.cancel()
            raise
        except BaseException as error:  # noqa: BLE001 - any error of opening belongs to the runs that wait for it
            self.opened.set_exception(_settable(error))
            return
        self.opened.set_result(value)
        log.info("resource_opened", resource=self.what)
        try:
            await self._enough.wait()
        finally:
            try:
                await _release(self.what, manager, None, within_s=self._release_s)
            except ResourceError as failure:
                log.error("resource_not_released", resource=self.what, error=str(failure))


async def _release(
    what: str, manager: AbstractAsyncContextManager[Any], error: BaseException | None, *, within_s: float
) -> None:
    """Close one resource. An exception other than the one passed to it becomes a `ResourceError`."""
    limit = asyncio.timeout(within_s)
    exc_info = (None, None, None) if error is None else (type(error), error, error.__traceback__)
    try:
        async with limit:
            await manager.__aexit__(*exc_info)
    except asyncio.CancelledError as cancelled:
        if cancelled is not error:
            raise
    except BaseException as failure:
        if limit.expired():
            raise ResourceError(f"{what} was not released within {within_s:g} s") from failure
        if failure is not error:
            raise ResourceError(f"{what} failed to be released: {error_text(failure)}") from failure


def _settable(error: BaseException) -> BaseException:
    """`error`, or a `RuntimeError` in place of a `StopIteration`, which futures do not accept."""
    return RuntimeError(error_text(error)) if isinstance(error, StopIteration) else error


def _seen(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # a run that was cancelled no longer waits for it
