"""The threads behind `asyncio.to_thread`: separate pools for handlers and for everything else.

asyncio has one pool per process, with a few threads more than there are processors. Handlers wait in it, for
a database or a file, so their number is unrelated to processors. The event loop also resolves host names in
it, so handlers that occupy the whole pool would cut the replica off from its database. Here the caller
decides: a call from a run gets one of the handlers' threads, and any other call one of Piko's own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from piko.observability.bindings import current_run

MOST = 64
"""Default number of threads for handlers."""
_OWN = 8
_LOOK_S = 0.05

P = ParamSpec("P")
T = TypeVar("T")


class HandlerThreads(ThreadPoolExecutor):
    """The default executor of an event loop that runs jobs. Threads start when first needed."""

    def __init__(self, *, threads: int) -> None:
        super().__init__(threads, thread_name_prefix="piko-handler")
        self._own = ThreadPoolExecutor(_OWN, thread_name_prefix="piko")
        self._calls: set[Future[Any]] = set()

    @property
    def calls(self) -> int:
        """Calls from handlers that run in a thread or wait for one."""
        return len(self._calls)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        if not current_run():
            return self._own.submit(fn, *args, **kwargs)
        call = super().submit(fn, *args, **kwargs)
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)
        return call

    async def idle(self, *, within_s: float) -> bool:
        """Wait up to `within_s` seconds until no call from a handler is left; returns whether that is so."""
        loop = asyncio.get_running_loop()
        until = loop.time() + within_s
        while self._calls and loop.time() < until:  # noqa: ASYNC110 - they end in threads, without an event
            await asyncio.sleep(_LOOK_S)
        return not self._calls

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._own.shutdown(wait, cancel_futures=cancel_futures)
        super().shutdown(wait, cancel_futures=cancel_futures)
