"""Limits on the connections of a server: their number, and how long each may stand still.

Without limits, a thousand idle connections take every file descriptor of the process, including those that
its jobs and its database connections need, and keep probes out until the healthy process is restarted:

- at most `most` connections are open; further ones wait in the kernel's backlog;
- the head of a request may take 5 s, its body 30 s, and a client that does not read its answer 30 s;
- when the limit is reached, the connection that has stood still longest is dropped to admit the next one. A
  probe sends its head at once and so comes through, while idle connections displace each other;
- when the process has no descriptor left, accepting pauses for a moment instead of being retried endlessly.

The stage of a connection is read from the public state of uvicorn's protocol objects.
"""

from __future__ import annotations

import asyncio
import resource
import socket
from enum import Enum
from typing import cast

import uvicorn
from prometheus_client import Counter
from uvicorn.protocols.http.h11_impl import H11Protocol

from piko.clock import Clock
from piko.observability.logs import get_logger
from piko.serving.seldom import Seldom

_MOST = 100
_FEWEST = 8
_SHARE = 8
_AT_ONCE = 16
_SWEEP_S = 0.5
_FULL_PAUSE_S = 0.05
_NO_DESCRIPTOR_PAUSE_S = 0.5

log = get_logger(__name__)


class Stage(Enum):
    """What a connection waits for."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    READER = "reader"


_PATIENCE_S = {Stage.HEAD: 5.0, Stage.BODY: 30.0, Stage.READER: 30.0}
"""How long a stage may last."""

_PATIENCE_WHEN_FULL_S = {Stage.HEAD: 0.1, Stage.BODY: 5.0, Stage.READER: 5.0}
"""How long a stage may last while other connections wait."""


def most_connections(*, most: int = _MOST, share: int = _SHARE) -> int:
    """One in `share` of the process's file descriptors, but `most` at most."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return most
    return max(_FEWEST, min(most, allowed // share))


class Door:
    """Accepts the connections of `server` on `listening`, in the running event loop, within a `with` block.

    `dropped` counts dropped connections by `why`; `most` is the limit of open connections.
    """

    def __init__(
        self, *, server: uvicorn.Server, listening: socket.socket, clock: Clock, dropped: Counter, most: int
    ) -> None:
        self._server = server
        self._listening = listening
        self._clock = clock
        self._dropped = dropped
        self._most = most
        self._seldom = Seldom(clock=clock)
        self._loop = asyncio.get_running_loop()
        self._arriving: set[asyncio.Task[None]] = set()
        self._connections = cast("set[H11Protocol]", server.server_state.connections)
        self._stages: dict[H11Protocol, tuple[Stage, int, float]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def __enter__(self) -> Door:
        self._listening.setblocking(False)
        self._open()
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._loop.remove_reader(self._listening)

    # ---- accepting --------------------------------------------------------------------------------

    def _open(self) -> None:
        self._loop.add_reader(self._listening, self._admit)

    def _shut_for(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._timers["open"] = self._loop.call_later(seconds, self._open)

    def _admit(self) -> None:
        if self._server.should_exit:
            self._loop.remove_reader(self._listening)
            return
        for _ in range(_AT_ONCE):
            if self._inside >= self._most and not self._make_space():
                self._shut_for(_FULL_PAUSE_S)
                return
            try:
                arrived, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptor or no memory is left
                if (times := self._seldom.due("accept")) is not None:
                    log.error("http_connections_wait", error=str(error), times=times)
                self._make_space()
                self._shut_for(_NO_DESCRIPTOR_PAUSE_S)
                return
            task = self._loop.create_task(self._welcome(arrived))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _welcome(self, arrived: socket.socket) -> None:
        try:
            arrived.setblocking(False)
            await self._loop.connect_accepted_socket(self._protocol, arrived)
        except OSError:  # it has already disconnected
            arrived.close()

    def _protocol(self) -> H11Protocol:
        return H11Protocol(
            config=self._server.config,
            server_state=self._server.server_state,
            app_state={},
            _loop=self._loop,
        )

    @property
    def _inside(self) -> int:
        leaving = sum(each.transport.is_closing() for each in self._connections)
        return len(self._connections) - leaving + len(self._arriving)

    # ---- dropping ---------------------------------------------------------------------------------

    def _sweep(self) -> None:
        for connection, since in self._outstaying(_PATIENCE_S):
            self._show_out(connection, since, why="slow")
        self._timers["sweep"] = self._loop.call_later(_SWEEP_S, self._sweep)

    def _make_space(self) -> bool:
        """Drop the connection that has stood still longest; False if all make progress."""
        outstaying = self._outstaying(_PATIENCE_WHEN_FULL_S)
        if outstaying:
            self._show_out(*min(outstaying, key=lambda each: each[1]), why="full")
        return bool(outstaying)

    def _outstaying(self, patience: dict[Stage, float]) -> list[tuple[H11Protocol, float]]:
        """Connections whose stage has lasted too long, each with the start of that stage."""
        now = self._clock.monotonic()
        before, self._stages = self._stages, {}
        found = []
        for connection in self._connections:
            stage, request = _stage(connection), id(connection.cycle)
            known = before.get(connection)
            since = known[2] if known is not None and known[:2] == (stage, request) else now
            self._stages[connection] = (stage, request, since)
            if now - since > patience.get(stage, float("inf")):
                found.append((connection, since))
        return found

    def _show_out(self, connection: H11Protocol, since: float, *, why: str) -> None:
        self._dropped.labels(why=why).inc()
        stage, waited_s = _stage(connection), self._clock.monotonic() - since
        connection.transport.abort()
        del self._stages[connection]
        if (times := self._seldom.due(why)) is not None:
            log_event = log.warning if why == "full" else log.info
            log_event(
                "http_connection_dropped",
                why=why,
                waited_for=stage.value,
                waited_s=round(waited_s, 1),
                most=self._most,
                times=times,
            )


def _stage(connection: H11Protocol) -> Stage:
    cycle = connection.cycle
    if cycle is None or cycle.response_complete:
        return Stage.HEAD
    if connection.flow.write_paused:
        return Stage.READER
    return Stage.BODY if cycle.more_body else Stage.ANSWER
