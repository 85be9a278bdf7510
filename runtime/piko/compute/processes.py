"""Workers on this machine: fresh interpreters, each with its own socket pair."""

from __future__ import annotations

import asyncio
import contextlib
import json
import mmap
import os
import pickle
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from piko.background.waiting import happens
from piko.compute.backend import CasualtyError
from piko.compute.chunk import Answer, Chunk
from piko.compute.worker import IDLE, LENGTH, PLACE_BYTES
from piko.errors import ComputeError
from piko.observability.bindings import current_log
from piko.observability.logs import get_logger, logging_in_use
from piko.observability.metrics import Metrics
from piko.tracing.traces import NO_TRACES, Traces

_START_S = 60.0
_END_S = 5.0
_HANG_UP_S = 1.0

log = get_logger(__name__)


class ProcessBackend:
    """Up to `workers` processes, each started when it is first needed and kept for the next chunk.

    A process is replaced after `max_tasks_per_child` items (None: never).
    """

    def __init__(
        self,
        *,
        metrics: Metrics,
        workers: int,
        max_tasks_per_child: int | None = None,
        traces: Traces = NO_TRACES,
    ) -> None:
        self._metrics = metrics
        self._workers = workers
        self._max_tasks = max_tasks_per_child
        self._traces = traces
        self._turns = asyncio.Semaphore(workers)
        self._idle: list[Worker] = []
        self._all: set[Worker] = set()
        # A pipe that is never written to: reading it returns in a worker when this process has ended.
        self._life: tuple[int, int] | None = None

    async def start(self) -> None:
        """Do nothing: the first chunk starts the first process."""

    async def parallelism(self) -> int:
        """One more than there are workers, so that a chunk is ready when a worker becomes free."""
        return self._workers + 1

    async def run(self, chunk: Chunk) -> Answer:
        async with self._turns:
            worker = await self._acquire()
            self._metrics.cpu_busy.inc()
            try:
                with self._traces.computing(chunk.function, chunk.count) as traceparent:
                    traced = chunk if traceparent is None else replace(chunk, traceparent=traceparent)
                    answer = await worker.do(traced, limit=self._left(worker))
            except BaseException as error:
                # Its code cannot be interrupted in any other way.
                reason = "cancelled" if isinstance(error, asyncio.CancelledError) else "died"
                reason = "timeout" if isinstance(error, CasualtyError) and error.timed_out else reason
                self._metrics.cpu_workers_lost.labels(reason).inc()
                worker.kill()
                raise
            else:
                worker.done += answer.done
                if self._left(worker) == 0:
                    worker.retire()
                else:
                    self._idle.append(worker)
                return answer
            finally:
                self._metrics.cpu_busy.dec()

    async def stop(self) -> None:
        for worker in self._all:
            worker.retire()
        endings = {asyncio.ensure_future(worker.ended.wait()) for worker in self._all}
        if self._life is not None:
            os.close(self._life[1])
        if endings:
            await asyncio.wait(endings, timeout=_END_S)
        for worker in list(self._all):
            worker.kill()
        if endings:
            await asyncio.wait(endings)
        if self._life is not None:
            os.close(self._life[0])
            self._life = None

    def _left(self, worker: Worker) -> int | None:
        return None if self._max_tasks is None else max(self._max_tasks - worker.done, 0)

    async def _acquire(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.usable:
                return worker
        if self._life is None:
            self._life = os.pipe()
        worker = Worker(ended=self._forget)
        self._all.add(worker)
        self._metrics.cpu_workers.set(len(self._all))
        try:
            await worker.start(life=self._life[0])
        except BaseException:
            worker.kill()
            raise
        return worker

    def _forget(self, worker: Worker) -> None:
        self._all.discard(worker)
        self._metrics.cpu_workers.set(len(self._all))


class Worker:
    """One worker process, and this end of its connection."""

    def __init__(self, *, ended: Callable[[Worker], None]) -> None:
        self.done = 0
        self.ended = asyncio.Event()
        self._on_end = ended
        self._process: asyncio.subprocess.Process | None = None
        self._line = _Line()
        self._watch: asyncio.Task[None] | None = None
        self._knows_call: int | None = None
        place = _shared_memory(PLACE_BYTES)
        self._place_fd = place
        self._map = mmap.mmap(place, PLACE_BYTES)
        self._place = memoryview(self._map).cast("q")

    @property
    def usable(self) -> bool:
        return self._line.open and not self.ended.is_set()

    async def start(self, *, life: int) -> None:
        """Start the process and wait until it is ready. Raises `ComputeError` if it does not start."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        inherited = (theirs.fileno(), life, self._place_fd)
        logging = logging_in_use()
        log_options = None if logging is None else logging.as_options()
        program = (
            f"import sys, json; sys.path[:] = json.loads({json.dumps(sys.path)!r}); "
            f"from piko.compute.worker import main; main(*{inherited}, log={log_options!r})"
        )
        with theirs:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-c",
                    program,
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=inherited,
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise ComputeError(f"a worker process cannot be started: {error}") from error
            except BaseException:
                ours.close()
                raise
            finally:
                os.close(self._place_fd)  # the mapping stays
        self._watch = asyncio.create_task(self._see_end(self._process), name=f"worker {self._process.pid}")
        await asyncio.get_running_loop().create_connection(lambda: self._line, sock=ours)
        try:
            async with asyncio.timeout(_START_S):
                await self._line.receive()
        except (TimeoutError, ConnectionError):
            raise ComputeError(
                f"a worker process ({sys.executable}) did not start within {_START_S:g} s or ended at once; "
                "its error output is in the error output of this process"
            ) from None
        log.debug("worker_started", worker=self._process.pid)

    async def do(self, chunk: Chunk, *, limit: int | None) -> Answer:
        """Run `chunk`, at most `limit` items. After any exception the worker is unusable."""
        self._place[0] = IDLE
        if chunk.call == self._knows_call:
            chunk = replace(chunk, fn=b"")
        self._line.send(pickle.dumps((chunk, limit), protocol=5))
        try:
            if chunk.item_timeout_s is None:
                data = await self._line.receive()
            else:
                data = await self._receive_watching(chunk.item_timeout_s)
        except ConnectionError:
            at = self._place[0]
            await self._await_end()
            raise CasualtyError(self._how(), offset=at if 0 <= at < chunk.count else None) from None
        answer: Answer = pickle.loads(data)  # noqa: S301 - our own worker's bytes
        self._knows_call = chunk.call if answer.done else None
        log = current_log()
        if answer.said is not None and log is not None:
            log.absorb(answer.said)
        return answer

    def retire(self) -> None:
        """Close the connection: the process ends when it finds it closed."""
        self._line.close()

    def kill(self) -> None:
        """Kill the process and its children at once."""
        self._line.close()
        if self._process is not None and self._process.returncode is None and not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        elif self._process is None:
            self._finished()

    async def _receive_watching(self, item_timeout_s: float) -> bytes:
        """Wait for the answer; raise `CasualtyError` if the worker spends too long on one item."""
        answer = asyncio.ensure_future(self._line.receive())
        loop = asyncio.get_running_loop()
        at, since = IDLE, loop.time()
        try:
            while True:
                await asyncio.wait({answer}, timeout=item_timeout_s / 10)
                if answer.done():
                    return answer.result()
                if self._place[0] != at:
                    at, since = self._place[0], loop.time()
                elif loop.time() - since > item_timeout_s:
                    raise CasualtyError(
                        f"took longer than item_timeout_s = {item_timeout_s:g}",
                        offset=max(at, 0),
                        timed_out=True,
                    )
        finally:
            answer.cancel()

    async def _await_end(self) -> None:
        """Wait for the end of a process that closed its connection; kill it if it does not end."""
        if not await happens(self.ended.wait(), within_s=_HANG_UP_S):
            self.kill()
            await self.ended.wait()

    async def _see_end(self, process: asyncio.subprocess.Process) -> None:
        await process.wait()
        # A child of the process may hold its end of the connection open for long after it.
        self._line.close()
        self._finished()

    def _finished(self) -> None:
        if not self.ended.is_set():
            self.ended.set()
            self._on_end(self)

    def _how(self) -> str:
        code = None if self._process is None else self._process.returncode
        if code is None or code >= 0:
            return f"its worker process ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = "; a kernel that runs out of memory kills like this" if -code == signal.SIGKILL else ""
        return f"its worker process was ended by {name}{hint}"


class _Line(asyncio.Protocol):
    """Length-prefixed messages, one answer at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._awaited: asyncio.Future[None] | None = None
        self._lost = False

    @property
    def open(self) -> bool:
        return not self._lost

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not by isinstance: the transports of uvloop, which uvicorn uses where it is installed, are others.
        self._transport = cast(asyncio.Transport, transport)
        if self._lost:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._complete() and self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason does not matter
        self._lost = True
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._lost:
            self._transport.write(LENGTH.pack(len(data)) + data)

    async def receive(self) -> bytes:
        """The next message. Raises `ConnectionError` if the connection is closed."""
        if not self._complete() and not self._lost:
            self._awaited = asyncio.get_running_loop().create_future()
            await self._awaited
        if not self._complete():
            raise ConnectionError("the worker has ended")
        (length,) = LENGTH.unpack_from(self._buffer)
        end = LENGTH.size + length
        message = bytes(memoryview(self._buffer)[LENGTH.size : end])
        del self._buffer[:end]
        return message

    def close(self) -> None:
        self._lost = True
        if self._transport is not None:
            self._transport.abort()
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    def _complete(self) -> bool:
        if len(self._buffer) < LENGTH.size:
            return False
        (length,) = LENGTH.unpack_from(self._buffer)
        return len(self._buffer) >= LENGTH.size + int(length)


def _shared_memory(size: int) -> int:
    """A descriptor of memory that a child can map, without a file system if the kernel supports that."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("piko-worker")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.truncate(descriptor, size)
    return descriptor
