"""The program of a worker process: read a chunk, run it, answer, until the connection closes.

It is started as a fresh interpreter and never forked, because its parent has threads and an event loop. It
does not import the application's main module either, which would run `python app.py` again in each worker;
functions of that module arrive by value.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from piko.compute.chunk import Chunk, Functions, load_functions, run_chunk

if TYPE_CHECKING:
    from piko.observability.run_log import RunLog

LENGTH = struct.Struct("!Q")
PLACE_BYTES = 8
IDLE = -1

_OOM_SCORE = Path("/proc/self/oom_score_adj")


def main(line: int, life: int, place: int, log: dict[str, bool] | None = None) -> None:
    """Serve on the inherited descriptors.

    - `line`: the connection to the parent process.
    - `life`: a pipe that closes when the parent ends.
    - `place`: the shared memory that holds the position of the current item.
    - `log`: how the parent formats its log, so that functions log and print here in the same way; None: the
      parent does not use Piko's logging.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # The parent handles a stop that is sent to all processes. Not SIG_IGN, which children would inherit.
    signal.signal(signal.SIGTERM, lambda *_: None)
    _prefer_to_be_killed()
    threading.Thread(target=_end_with_owner, args=(life,), daemon=True).start()
    with _speaking_as(log) as in_name_of:
        _serve(line, place, in_name_of)


def _serve(line: int, place: int, in_name_of: InNameOf) -> None:
    functions = LatestFunctions()
    at = memoryview(mmap.mmap(place, PLACE_BYTES)).cast("q")
    with socket.socket(fileno=line) as connection, connection.makefile("rb", buffering=1 << 16) as incoming:
        _send(connection, b"")
        while header := incoming.read(LENGTH.size):
            chunk, limit = pickle.loads(incoming.read(*LENGTH.unpack(header)))  # noqa: S301 - our owner's bytes
            assert isinstance(chunk, Chunk)
            with in_name_of(chunk.run) as log, _in_trace(chunk):
                answer = run_chunk(chunk, load=functions.load, place=at, limit=limit)
            if log is not None:
                answer = replace(answer, said=log.take())
            at[0] = IDLE
            _send(connection, pickle.dumps(answer, protocol=5))


InNameOf = Callable[[Mapping[str, object]], "AbstractContextManager[RunLog | None]"]
"""A context in which everything that is logged and printed carries a run, and the log that gets it."""


@contextlib.contextmanager
def _speaking_as(log: dict[str, bool] | None) -> Iterator[InNameOf]:
    if log is None:  # the parent does not use Piko's logging
        yield lambda _: contextlib.nullcontext()
        return
    # Imported only if needed: it takes a quarter of the start of a process.
    from piko.observability.bindings import bound
    from piko.observability.logs import configure_logging
    from piko.observability.printed import prints_as_events
    from piko.observability.run_log import RunLog

    @contextlib.contextmanager
    def in_name_of(run: Mapping[str, object]) -> Iterator[RunLog | None]:
        log = None
        if run:
            log = RunLog(job_id=str(run["job_id"]), run_id=str(run["run_id"]), changed=lambda _: None)
        with bound(run, log):
            yield log

    logging = configure_logging(log_format="json" if log["as_json"] else "text", debug=log["debug"])
    with prints_as_events(logging):
        yield in_name_of


def _in_trace(chunk: Chunk) -> AbstractContextManager[None]:
    if chunk.traceparent is None:
        return contextlib.nullcontext()
    from piko.tracing.traces import continued

    return continued(chunk.traceparent)


class LatestFunctions:
    """The functions of the latest call, whose further chunks arrive without them."""

    def __init__(self) -> None:
        self._call: int | None = None
        self._functions: Functions | None = None

    def load(self, chunk: Chunk) -> Functions:
        if self._functions is None or chunk.call != self._call:
            self._functions = None
            self._functions, self._call = load_functions(chunk), chunk.call
        return self._functions


def _send(connection: socket.socket, data: bytes) -> None:
    connection.sendall(LENGTH.pack(len(data)))
    connection.sendall(data)


def _end_with_owner(life: int) -> None:
    os.read(life, 1)  # never written to: it returns when the parent has ended
    os._exit(0)


def _prefer_to_be_killed() -> None:
    """When memory runs out, the kernel should kill a worker, not the process that holds the leadership."""
    with contextlib.suppress(OSError):
        _OOM_SCORE.write_text("800")
