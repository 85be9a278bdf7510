"""Workers on a Dask cluster, for loads that exceed one machine.

Dask assigns a chunk to one of its workers, and to another one if a machine is lost. The Dask worker runs it
as this machine would: in processes of its own, as many as it has threads. So an item that must be killed, or
that kills its process, costs that process and not the Dask worker with the work of others on it; and it is
known which item it was.

The Dask workers need Piko installed, and everything that the functions import.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from distributed import Client, Worker, WorkerPlugin, get_worker
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from piko.compute.backend import CasualtyError
from piko.compute.chunk import Answer, Chunk
from piko.compute.processes import ProcessBackend
from piko.errors import ComputeError
from piko.observability.metrics import Metrics
from piko.tracing.traces import NO_TRACES, Traces

_CONNECT_S = 10.0
_END_S = 5.0
_LEAST = 2  # chunks in flight, also while there is no worker: they have an autoscaler add one
_LOOK_S = 0.05
_PLUGIN = "piko-processes"

T = TypeVar("T")
Casualty = tuple[str, int | None, bool]


class DaskBackend:
    """Sends chunks to the scheduler at `address`."""

    def __init__(self, *, metrics: Metrics, address: str, traces: Traces = NO_TRACES) -> None:
        self._metrics = metrics
        self._address = address
        self._traces = traces
        self._client: Client | None = None
        self._name = uuid4().hex
        self._numbers = count(1)
        self._steps: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Connect. Raises `ComputeError` if the scheduler does not answer."""
        client = Client(
            self._address, asynchronous=True, timeout=_CONNECT_S, set_as_default=False, name="piko"
        )
        try:
            await client
            await client.register_plugin(WorkerProcesses(), name=_PLUGIN)
        except (OSError, TimeoutError) as error:
            await client.close()
            raise ComputeError(
                f"setting `dask_address` = {self._address!r}: no Dask scheduler answers there within "
                f"{_CONNECT_S:g} s: {error}; start one with `dask scheduler`, or set "
                "PIKO_CPU_BACKEND=processes"
            ) from error
        self._client = client

    async def parallelism(self) -> int:
        """Twice the current number of threads, because the scheduler adds latency.

        A scheduler that has gone away is no error here: `run` says so.
        """
        assert self._client is not None
        try:
            threads: dict[str, int] = await self._client.nthreads()
        except OSError:
            return _LEAST
        return max(2 * sum(threads.values()), _LEAST)

    async def run(self, chunk: Chunk) -> Answer:
        with self._traces.computing(chunk.function, chunk.count) as traceparent:
            return await self._run(chunk if traceparent is None else replace(chunk, traceparent=traceparent))

    async def _run(self, chunk: Chunk) -> Answer:
        client = self._client
        assert client is not None
        key = f"piko-{self._name}-{next(self._numbers)}"
        future = client.submit(_run_on_dask_worker, chunk, key, key=key, pure=False)
        # Dask's client gathers for all calls at once: cancelling one cancels the others.
        waiting = self._kept(future.result())
        self._metrics.cpu_busy.inc()
        try:
            answer: Answer | Casualty = await asyncio.shield(waiting)
        except KilledWorker as error:
            raise CasualtyError(f"the Dask workers that ran it died: {error}", offset=None) from error
        except (FutureCancelledError, OSError) as error:
            raise ComputeError(
                f"the Dask scheduler at {self._address} is unreachable or has dropped the work: {error}"
            ) from error
        except asyncio.CancelledError:
            self._kept(client.cancel([future]))
            self._metrics.cpu_workers_lost.labels("cancelled").inc()
            raise
        finally:
            self._metrics.cpu_busy.dec()
        if isinstance(answer, Answer):
            return answer
        how, offset, timed_out = answer
        self._metrics.cpu_workers_lost.labels("timeout" if timed_out else "died").inc()
        raise CasualtyError(how, offset=offset, timed_out=timed_out)

    def _kept(self, step: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Let `step` run to completion, even if no caller waits for it."""
        task = asyncio.create_task(step)
        self._steps.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._steps.discard(task)
        if not task.cancelled():
            task.exception()  # raised where the task is awaited; retrieved here so that asyncio does not warn

    async def stop(self) -> None:
        if self._steps:
            await asyncio.wait(self._steps, timeout=_END_S)
        if self._client is not None:
            await self._client.close()
            self._client = None


class WorkerProcesses(WorkerPlugin):
    """The processes that belong to one Dask worker."""

    def __init__(self) -> None:
        self.backend: ProcessBackend | None = None

    def setup(self, worker: Worker) -> None:
        self.backend = ProcessBackend(metrics=Metrics(), workers=worker.state.nthreads)

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002 - the signature is Dask's
        if self.backend is not None:
            await self.backend.stop()


async def _run_on_dask_worker(chunk: Chunk, key: str) -> Answer | Casualty:
    """Run a chunk on a Dask worker's event loop, and stop it when its task is cancelled: Dask does not."""
    worker = get_worker()
    plugin = worker.plugins[_PLUGIN]
    assert isinstance(plugin, WorkerProcesses)
    backend = plugin.backend
    assert backend is not None
    doing = asyncio.ensure_future(backend.run(chunk))
    try:
        while not (await asyncio.wait({doing}, timeout=_LOOK_S))[0]:
            state = worker.state.tasks.get(key)
            if state is None or state.state != "executing":
                break
        else:
            answer: Answer = doing.result()
            return answer
    except CasualtyError as casualty:
        return casualty.how, casualty.offset, casualty.timed_out
    finally:
        if not doing.done():
            doing.cancel()
            await asyncio.wait({doing})
    return "its task was cancelled", None, False
