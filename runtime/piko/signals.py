"""How a process is asked to end: SIGTERM and Ctrl-C.

The first asks for an orderly stop. The next one ends the process at once, whatever it waits for, and says
what was cut, also while the event loop is blocked: the handlers are those of the process, not of the loop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType

from piko.clock import SystemClock

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_ONE_PRESS_S = 0.2
"""Ctrl-C reaches a whole group, and a program that started this one may pass it on: that is one signal."""


class StopSignals:
    """Listens while its block lasts; made and used in the main thread.

    `last_words` says in one line what a second signal cuts.
    """

    def __init__(self, *, last_words: Callable[[], str]) -> None:
        self._last_words = last_words
        self._clock = SystemClock()
        self._first_at: float | None = None
        self._wake: Callable[[], object] | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        self._before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    @property
    def heard(self) -> bool:
        """Whether a stop was asked for."""
        return self._first_at is not None

    async def wait(self) -> None:
        """Return at the first signal, or at once where it has come already."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(heard.set)
        if not self.heard:
            await heard.wait()

    def _hear(self, number: int, _: FrameType | None) -> None:
        now = self._clock.monotonic()
        if self._first_at is None:
            self._first_at = now
            if self._wake is not None:
                with suppress(RuntimeError):  # the loop has ended, and so does the process
                    self._wake()
        elif now - self._first_at > _ONE_PRESS_S:
            # Not by way of the log: this may have interrupted the very writing of a line.
            os.write(2, f"piko: cut off: {self._last_words()}\n".encode(errors="replace"))
            os._exit(128 + number)


def leave(code: int) -> None:
    """End the process although something of it goes on, for which Python would wait for ever."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader may have closed the stream
            stream.flush()
    os._exit(code)
