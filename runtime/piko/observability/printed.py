"""What code prints, as events: `print` in a handler must not break a stream of JSON.

Where logs are JSON, each line that is written to `sys.stdout` or `sys.stderr` becomes an event of its own on
the same stream, and carries the run that printed it. On a terminal, and wherever logs are text, nothing is
changed. What a child process or a library written in C writes to the descriptors passes as it is.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from piko.clock import SystemClock
from piko.observability.bindings import current_run
from piko.observability.logs import Logging, event_line, real_stream

_LONGEST = 16_000
"""Characters without an end of line after which they are told."""


@contextmanager
def prints_as_events(logging: Logging) -> Iterator[None]:
    """While this lasts, lines printed in this process are events, where its log is JSON."""
    if not logging.as_json:
        yield
        return
    before = sys.stdout, sys.stderr
    printed = (
        PrintedLines(real_stream(sys.stdout), logger="stdout", level="info"),
        PrintedLines(real_stream(sys.stderr), logger="stderr", level="warning"),
    )
    sys.stdout, sys.stderr = printed
    try:
        yield
    finally:
        for stream in printed:
            stream.finish()
        sys.stdout, sys.stderr = before


class PrintedLines(io.TextIOBase):
    """Writes each line to `beneath` as an event of `logger`.

    Threads print side by side, and runs do one after the other on the event loop: what one of them has begun
    a line with is not finished by another.
    """

    def __init__(self, beneath: TextIO, *, logger: str, level: str) -> None:
        self.beneath = beneath
        self._logger = logger
        self._level = level
        self._now = SystemClock().now
        self._begun: dict[int, tuple[Mapping[str, object], str]] = {}
        """By thread: whose line it is, and how it begins."""
        self._turn = threading.RLock()

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        run = current_run()
        with self._turn:
            thread = threading.get_ident()
            earlier, begun = self._begun.pop(thread, (run, ""))
            if earlier != run:
                self._tell(begun, earlier)
                begun = ""
            *lines, rest = (begun + text).split("\n")
            for line in lines:
                self._tell(line, run)
            if len(rest) > _LONGEST:
                self._tell(rest, run)
            elif rest:
                self._begun[thread] = run, rest
        return len(text)

    def finish(self) -> None:
        """Tell what has no end of line."""
        with self._turn:
            for run, rest in self._begun.values():
                self._tell(rest, run)
            self._begun.clear()

    def _tell(self, line: str, run: Mapping[str, object]) -> None:
        if not line.strip():
            return
        event = {
            "event": line.rstrip("\r"),
            **run,
            "level": self._level,
            "logger": self._logger,
            "timestamp": self._now().isoformat().replace("+00:00", "Z"),
        }
        self.beneath.write(event_line(event) + "\n")
        self.beneath.flush()

    # ---- what else one asks of a text stream -------------------------------------------------------

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The stream of bytes: what is written to it passes as it is."""
        found: io.BufferedIOBase = getattr(self.beneath, "buffer")  # noqa: B009 - not every text stream has one
        return found

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.beneath.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        return self.beneath.errors

    def fileno(self) -> int:
        return self.beneath.fileno()

    def flush(self) -> None:
        self.beneath.flush()

    def isatty(self) -> bool:
        return self.beneath.isatty()

    def writable(self) -> bool:
        return True
