"""`app.cpu_manager`: the interface for authors of jobs."""

from __future__ import annotations

import asyncio
import functools
import inspect
import pickle
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import aclosing
from enum import Enum
from functools import partial
from itertools import count
from typing import Any, Literal, ParamSpec, TypeVar, overload

from piko.compute.backend import Backend, CasualtyError
from piko.compute.chunk import Chunk, function_name, name_of, pickled_function, pickled_items
from piko.compute.feed import Feed
from piko.compute.mapping import Mapping, MapTask, Progress
from piko.compute.processes import ProcessBackend
from piko.compute.processors import usable_processors
from piko.compute.sizing import ChunkSizer
from piko.errors import ComputeError, WorkerLostError
from piko.observability.bindings import current_run
from piko.observability.metrics import Metrics
from piko.tracing.traces import Traces, traces_in_use

__all__ = ["CpuManager"]

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

Items = Iterable[T] | AsyncIterable[T]


class _Nothing(Enum):
    GIVEN = "no value"


class CpuManager:
    """Runs functions in worker processes, so that the event loop is not blocked.

    Workers start on the first call and end with the app. An exception of a function is raised here. A timeout
    or a cancellation ends a function together with its process. Functions and arguments are pickled by
    cloudpickle: lambdas, closures and functions of `__main__` work.

    A function may run more than once if its worker process dies: it should only compute, and leave side
    effects to the caller.
    """

    def __init__(self, *, metrics: Metrics, traces: Callable[[], Traces] = traces_in_use) -> None:
        """`traces` is asked for the traces of each pool that starts."""
        self._metrics = metrics
        self._traces = traces
        self._make_backend: Callable[[], Backend] = self._on_this_machine
        self._backend: Backend | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = asyncio.Lock()
        self._calls = count(1)

    def use_processes(self, *, workers: int = 0, max_tasks_per_child: int = 0) -> None:
        """Compute on this machine, from the next start on. This is what it does unless it is configured.

        `workers`: how many processes; 0: one for each usable processor. `max_tasks_per_child`: items after
        which a process is replaced; 0: never.
        """
        self._make_backend = partial(
            self._on_this_machine, workers=workers, max_tasks_per_child=max_tasks_per_child
        )

    def use_dask(self, address: str) -> None:
        """Compute on the Dask cluster whose scheduler is at `address`, from the next start on."""
        self._make_backend = partial(self._on_dask, address)

    async def stop(self) -> None:
        """End all workers, including busy ones; the next call starts new ones."""
        backend, self._backend = self._backend, None
        if backend is not None and self._loop is asyncio.get_running_loop():
            await backend.stop()

    # ---- calls ---------------------------------------------------------------------------------------

    async def submit(
        self,
        fn: Callable[P, R],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Run `fn(*args, **kwargs)` in a worker process and return its result.

        - `fn`: a plain (not async) function.
        - `args`, `kwargs`: its arguments, which must be picklable.

        `asyncio.timeout(seconds)` around the call bounds it and ends the process. Raises what `fn` raises,
        with the worker's traceback as its cause; `WorkerLostError` if the process died under it twice;
        `ComputeError` if the function, an argument or the result cannot be pickled.
        """
        _check_plain(fn, role="fn")
        name = name_of(fn)
        try:
            items = pickled_items([(args, kwargs)])
        except (pickle.PicklingError, TypeError, AttributeError, RecursionError) as error:
            raise ComputeError(
                f"an argument of {name} cannot be sent to a worker process: {error}; pass plain values"
            ) from error
        chunk = Chunk(
            call=next(self._calls),
            count=1,
            fn=pickled_function(fn, role="fn"),
            items=items,
            starred=True,
            run=current_run(),
            function=function_name(fn),
        )
        backend = await self._started()
        for last in (False, True):
            try:
                answer = await backend.run(chunk)
            except CasualtyError as casualty:
                if last:
                    self._metrics.cpu_items.labels("lost").inc()
                    raise WorkerLostError(
                        f"two worker processes died running {name}: {casualty.how}"
                    ) from None
                continue
            break
        self._metrics.cpu_items.labels("failed" if answer.failures else "ok").inc()
        for failure in answer.failures:
            raise failure.restored(first=None)
        (result,) = pickle.loads(answer.results)  # noqa: S301 - written by our own worker
        return result  # type: ignore[no-any-return]

    @overload
    async def map_reduce(
        self,
        map_fn: Callable[[T], R],
        items: Items[T],
        *,
        concurrency: int | None = None,
        chunk_size: int | None = None,
        timeout_s: float | None = None,
        item_timeout_s: float | None = None,
        progress: Progress | None = None,
        return_exceptions: Literal[False] = False,
    ) -> list[R]: ...
    @overload
    async def map_reduce(
        self,
        map_fn: Callable[[T], R],
        items: Items[T],
        *,
        return_exceptions: Literal[True],
        concurrency: int | None = None,
        chunk_size: int | None = None,
        timeout_s: float | None = None,
        item_timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> list[R | BaseException]: ...
    @overload
    async def map_reduce(
        self,
        map_fn: Callable[[T], R],
        items: Items[T],
        *,
        reduce_fn: Callable[[R, R], R],
        initial: R | _Nothing = _Nothing.GIVEN,
        concurrency: int | None = None,
        chunk_size: int | None = None,
        timeout_s: float | None = None,
        item_timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> R: ...
    async def map_reduce(
        self,
        map_fn: Callable[[Any], Any],
        items: Items[Any],
        *,
        reduce_fn: Callable[[Any, Any], Any] | None = None,
        initial: Any = _Nothing.GIVEN,
        concurrency: int | None = None,
        chunk_size: int | None = None,
        timeout_s: float | None = None,
        item_timeout_s: float | None = None,
        progress: Progress | None = None,
        return_exceptions: bool = False,
    ) -> Any:
        """Run `map_fn(item)` for each item in worker processes.

        Returns a list of the results in the order of the items, or one value if `reduce_fn` is given.

        - `map_fn`: a plain (not async) function of one item.
        - `items`: an iterable or an async iterable of picklable items.
        - `reduce_fn(left, right)`: combines the results, in order, into one value. It runs partly in the
          workers, so it must be associative.
        - `initial`: the value that the reduction starts from, and its result if there are no items.
        - `concurrency`: the most workers to use at once; all of them by default.
        - `chunk_size`: items sent to a worker at a time; chosen automatically by default.
        - `timeout_s`: seconds for the whole call. `item_timeout_s`: seconds for each item. Both end the
          process and raise `TimeoutError`.
        - `progress(done, total)`: called on the event loop as items are done; `total` is None if it is not
          known.
        - `return_exceptions`: put exceptions into the list instead of raising the first one.

        The exception of an item is raised unchanged, with an `ItemError` that has the item's `index` as its
        cause, and the other items are abandoned. With `return_exceptions=True` it is placed in the list
        instead, as are `WorkerLostError` and `TimeoutError`, and all other items are computed.
        """
        if reduce_fn is not None and return_exceptions:
            raise ComputeError(
                "map_reduce: give reduce_fn or return_exceptions=True; exceptions cannot be reduced"
            )
        mapping = await self._mapping(
            map_fn, items, reduce_fn=reduce_fn, concurrency=concurrency, chunk_size=chunk_size,
            item_timeout_s=item_timeout_s, progress=progress, keep_going=return_exceptions, bounded=False,
        )  # fmt: skip
        results: list[Any] = []
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit, aclosing(mapping.outcomes()) as outcomes:
                async for outcome in outcomes:
                    results += outcome.values
                    if reduce_fn is not None and len(results) > 1:
                        results = [functools.reduce(reduce_fn, results)]
        except TimeoutError as error:
            if limit.expired():
                raise TimeoutError(
                    f"map_reduce: {mapping.done} items were done when timeout_s = {timeout_s:g} expired"
                ) from error
            raise
        if reduce_fn is None:
            return results
        if initial is not _Nothing.GIVEN:
            results.insert(0, initial)
        if not results:
            raise ComputeError(
                "map_reduce: there are no items to reduce; give `initial`, the result for no items"
            )
        return functools.reduce(reduce_fn, results)

    async def stream(
        self,
        map_fn: Callable[[T], R],
        items: Items[T],
        *,
        concurrency: int | None = None,
        chunk_size: int | None = None,
        item_timeout_s: float | None = None,
        progress: Progress | None = None,
    ) -> AsyncGenerator[R, None]:
        """Yield `map_fn(item)` for each item, in order, with only a few chunks in memory.

        Items are fetched as workers become free, and only a few chunks ahead of the results that were
        consumed. Close the generator, preferably with `contextlib.aclosing`, when leaving the loop early:
        that frees the workers.

        - `map_fn`: a plain (not async) function of one item.
        - `items`: an iterable or an async iterable of picklable items; it may be endless.
        - `concurrency`: the most workers to use at once; all of them by default.
        - `chunk_size`: items sent to a worker at a time; chosen automatically by default.
        - `item_timeout_s`: seconds for each item; it ends the process and raises `TimeoutError`.
        - `progress(done, total)`: called on the event loop as items are done; `total` is None if it is not
          known.

        Raises the exception of the first item that fails, with an `ItemError` as its cause.
        """
        mapping = await self._mapping(
            map_fn, items, reduce_fn=None, concurrency=concurrency, chunk_size=chunk_size,
            item_timeout_s=item_timeout_s, progress=progress, keep_going=False, bounded=True,
        )  # fmt: skip
        async with aclosing(mapping.outcomes()) as outcomes:
            async for outcome in outcomes:
                for value in outcome.values:
                    yield value

    # ---- common parts ----------------------------------------------------------------------------------

    async def _mapping(
        self,
        map_fn: Callable[[Any], Any],
        items: Items[Any],
        *,
        reduce_fn: Callable[[Any, Any], Any] | None,
        concurrency: int | None,
        chunk_size: int | None,
        item_timeout_s: float | None,
        progress: Progress | None,
        keep_going: bool,
        bounded: bool,
    ) -> Mapping:
        _check_plain(map_fn, role="map_fn")
        if concurrency is not None and concurrency < 1:
            raise ComputeError(f"concurrency = {concurrency!r} must be at least 1")
        if item_timeout_s is not None and not item_timeout_s > 0:
            raise ComputeError(f"item_timeout_s = {item_timeout_s!r} must be a positive number of seconds")
        job = MapTask(
            call=next(self._calls),
            fn=pickled_function(map_fn, role="map_fn"),
            name=name_of(map_fn),
            function=function_name(map_fn),
            reduce_fn=None if reduce_fn is None else pickled_function(reduce_fn, role="reduce_fn"),
            keep_going=keep_going,
            item_timeout_s=item_timeout_s,
        )
        backend = await self._started()
        parallelism = await backend.parallelism()
        if concurrency is not None:
            parallelism = min(concurrency, parallelism)
        return Mapping(
            backend=backend,
            metrics=self._metrics,
            job=job,
            feed=Feed(items),
            sizer=ChunkSizer(fixed=chunk_size, parallelism=parallelism),
            parallelism=parallelism,
            concurrency=concurrency,
            bounded=bounded,
            progress=progress,
        )

    async def _started(self) -> Backend:
        loop = asyncio.get_running_loop()
        if self._loop is not loop:  # workers of an earlier loop cannot be used in this one
            self._backend, self._loop, self._starting = None, loop, asyncio.Lock()
        async with self._starting:
            if self._backend is None:
                backend = self._make_backend()
                await backend.start()
                self._backend = backend
        return self._backend

    def _on_this_machine(self, *, workers: int = 0, max_tasks_per_child: int = 0) -> Backend:
        return ProcessBackend(
            metrics=self._metrics,
            workers=workers or usable_processors(),
            max_tasks_per_child=max_tasks_per_child or None,
            traces=self._traces(),
        )

    def _on_dask(self, address: str) -> Backend:
        from piko.compute.on_dask import DaskBackend

        return DaskBackend(metrics=self._metrics, address=address, traces=self._traces())


def _check_plain(fn: Callable[..., Any], *, role: str) -> None:
    if not callable(fn):
        raise ComputeError(f"{role} = {fn!r} is not callable; expected a plain function")
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise ComputeError(
            f"{role} = {name_of(fn)} is async; a worker process runs plain functions, so write `def`, "
            "or await it here"
        )
