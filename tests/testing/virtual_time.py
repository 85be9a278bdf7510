"""An event loop whose time passes only while nobody has anything to do, and SQLite that tells the same time.

Statements are carried out in the thread of the loop: a transaction takes no time, and none is under way when
time passes. Real parts of a replica run on it as they are, their timers and timeouts included.
"""

from __future__ import annotations

import asyncio
import selectors
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

import aiosqlite
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine


class StandstillError(AssertionError):
    """Everyone waits, and nothing would ever come."""


class VirtualClock:
    """The one clock of a `VirtualLoop`, its parts and their database; time stands at `start` first."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self.elapsed_s = 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self.elapsed_s)

    def monotonic(self) -> float:
        return self.elapsed_s


class _Leaps(selectors.DefaultSelector):
    """Where the loop would wait for its next timer, that moment comes."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if timeout is None:
            raise StandstillError("no timer is set, and nobody has anything to do")
        self._clock.elapsed_s += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Tells the time of `clock`."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        super().__init__(_Leaps(clock))

    def time(self) -> float:
        return self._clock.elapsed_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Call it here: a thread would end at another time each time."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is raised where the caller awaits it
            future.set_exception(error)
        return future


def on_virtual_time(engine: AsyncEngine, clock: VirtualClock) -> None:
    """Have connections of `engine` work in the loop's thread, and `now` be what `clock` says."""

    def connect(_dialect: object, _record: object, _arguments: object, parameters: dict[str, Any]) -> None:
        parameters["async_creator_fn"] = _at_once(clock)

    event.listen(engine.sync_engine, "do_connect", connect)


class _Queue:
    """Does at once what it is given, in place of a worker thread."""

    def put_nowait(self, item: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, function = item
        try:
            result = function()
        except Exception as error:  # noqa: BLE001 - it is raised where the caller awaits it
            if future is not None:
                future.set_exception(error)
        else:
            if future is not None:
                future.set_result(result)


class _Connection(aiosqlite.Connection):
    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._tx = _Queue()  # type: ignore[assignment]
        self._thread = Thread(target=lambda: None)


def _at_once(clock: VirtualClock) -> Callable[..., _Connection]:
    def create(*arguments: Any, **options: Any) -> _Connection:
        def connector() -> sqlite3.Connection:
            connection: sqlite3.Connection = sqlite3.connect(*arguments, **options)
            connection.create_function("strftime", -1, formatted)
            return connection

        return _Connection(connector)

    def formatted(layout: str, moment: str, *changes: str) -> str | None:
        shown = clock.now().astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f") if moment == "now" else moment
        with closing(
            plain.execute(f"SELECT strftime(?, ?{', ?' * len(changes)})", (layout, shown, *changes))
        ) as rows:
            return rows.fetchone()[0]  # type: ignore[no-any-return]

    plain = sqlite3.connect(":memory:")
    return create
