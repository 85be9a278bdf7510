"""Printed lines as events, so that `print` in a handler does not break a stream of JSON.

If logs are JSON, each line that is written to `sys.stdout` or `sys.stderr` becomes an event on the same
stream, and carries the run that printed it. If logs are text, what is printed appears unchanged. Either way
a line that a run prints is a line of its log. Output that a child process or a C library writes to the file
descriptors passes unchanged.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from piko.clock import SystemClock
from piko.observability.bindings import current_log, current_run
from piko.observability.logs import Logging, event_line, real_stream
from piko.observability.run_log import RunLog
from piko.text import instant_text

_Run = tuple[Mapping[str, object], RunLog | None]
"""What the lines of a run carry, and where they are kept."""
_LONGEST = 16_000
"""Characters without a line end after which they are logged anyway."""


@contextmanager
def prints_as_events(logging: Logging) -> Iterator[None]:
    """Within this block, lines printed in this process become events if its log is JSON.

    What a run prints goes to its log, too.
    """
    before = sys.stdout, sys.stderr
    as_json = logging.as_json
    printed = (
        PrintedLines(real_stream(sys.stdout), logger="stdout", level="info", as_json=as_json),
        PrintedLines(real_stream(sys.stderr), logger="stderr", level="warning", as_json=as_json),
    )
    sys.stdout, sys.stderr = printed
    try:
        yield
    finally:
        for stream in printed:
            stream.finish()
        sys.stdout, sys.stderr = before


class PrintedLines(io.TextIOBase):
    """Writes each line to `beneath` as an event of `logger`, or unchanged if not `as_json`.

    Threads print concurrently, and runs alternate on the event loop: the beginning of a line of one is never
    joined with the output of another.
    """

    def __init__(self, beneath: TextIO, *, logger: str, level: str, as_json: bool = True) -> None:
        self.beneath = beneath
        self._as_json = as_json
        self._logger = logger
        self._level = level
        self._now = SystemClock().now
        self._begun: dict[int, tuple[_Run, str]] = {}
        """The unfinished line of each thread, with its run."""
        self._turn = threading.RLock()

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not self._as_json:
            self.beneath.write(text)
            if current_log() is None:
                return len(text)
        run = current_run(), current_log()
        with self._turn:
            thread = threading.get_ident()
            earlier, begun = self._begun.pop(thread, (run, ""))
            if earlier != run:
                self._log(begun, earlier)
                begun = ""
            *lines, rest = (begun + text).split("\n")
            for line in lines:
                self._log(line, run)
            if len(rest) > _LONGEST:
                self._log(rest, run)
            elif rest:
                self._begun[thread] = run, rest
        return len(text)

    def finish(self) -> None:
        """Log the unfinished lines."""
        with self._turn:
            for run, rest in self._begun.values():
                self._log(rest, run)
            self._begun.clear()

    def _log(self, line: str, run: _Run) -> None:
        if not line.strip():
            return
        bound, log = run
        event = {
            "event": line.rstrip("\r"),
            **bound,
            "level": self._level,
            "logger": self._logger,
            "timestamp": instant_text(self._now()),
        }
        rendered = event_line(event)
        if log is not None:
            log.add(rendered)
        if self._as_json:
            self.beneath.write(rendered + "\n")
            self.beneath.flush()

    # ---- the rest of the text stream interface -----------------------------------------------------

    @property
    def buffer(self) -> io.BufferedIOBase:
        """The byte stream; data written to it passes unchanged."""
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
