"""What one run logs: its first and its last lines, however much it logs.

A line costs its run next to nothing. It arrives as the JSON that the process writes to its own log anyway,
and is put aside as it is. Once a second, and at the end of the run, `settle` turns what was put aside into
lines for people, hides the secrets of the run's config, and keeps the first and the last of them. What lies
between is counted. A run that logs faster than it is settled keeps the first and the last of what arrived
meanwhile, so that its memory is bounded too: whole parts are dropped, because to drop each line by itself
would cost as much as to keep it.

Threads log concurrently with the event loop; a lock keeps each line whole.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Collection
from itertools import chain
from typing import NamedTuple

from piko.observability.log_excerpt import HEAD, KeptLines, LogExcerpt
from piko.observability.redaction import hide

_FIRST = 6 * HEAD
_PART = 32 * 1024
"""Characters that are put aside between two times of settling: of the first lines, and of a later part."""
_PARTS = 8
_LONG_PARTS = 4
"""Later parts that are kept. An event as JSON is up to six times as long as what it says to people, but a
long one hardly longer than that; to hold more of those would cost each line its place in the cache."""
_LONG = 500


class Aside(NamedTuple):
    """Lines as they were logged: the first, the number of those that were left out, and the last."""

    first: tuple[str, ...]
    left_out: int
    last: tuple[str, ...]


class ReportedProgress(NamedTuple):
    """How far a run says that it is: `done` of `total` (None: unknown), in its own words."""

    done: float
    total: float | None = None
    text: str | None = None


class RunLog:
    """The log and the progress of one run. `changed` is called when there is something to settle."""

    __slots__ = (
        "_changed", "_closed", "_dirty", "_excerpt", "_first", "_last", "_lock", "_recent", "_room",
        "_skipped", "job_id", "progress", "run_id", "secrets",
    )  # fmt: skip

    _first: list[str] | None
    """The first part since it was settled; None: it is still `_recent`."""
    _last: deque[list[str]]
    """The last parts that are full."""
    _skipped: int

    def __init__(self, *, job_id: str, run_id: str, changed: Callable[[RunLog], None]) -> None:
        self.job_id = job_id
        self.run_id = run_id
        self.secrets: Collection[str] = ()
        self.progress: ReportedProgress | None = None
        self._changed = changed
        self._closed = self._dirty = False
        self._lock = threading.Lock()
        self._recent: list[str] = []
        self._room = 0
        """Characters that still fit into `_recent`; nothing fits before the first line and after the last."""
        self._excerpt: LogExcerpt | None = None
        # The rest is made by the first line: most runs log nothing.

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def said_anything(self) -> bool:
        """Whether there is a line or a progress to keep."""
        return self._excerpt is not None or self.progress is not None

    def add(self, line: str) -> None:
        """Put one event aside, as JSON. After `close` it is ignored."""
        size = len(line)
        with self._lock:
            if size <= self._room:  # nearly every line of a run that logs much
                self._recent.append(line)
                self._room -= size
                return
            if self._closed:
                return
            self._make_room()
            self._recent.append(line)
            self._room -= size
            announced, self._dirty = self._dirty, True
        if not announced:
            self._changed(self)

    def absorb(self, aside: Aside) -> None:
        """Put aside what another process logged for this run."""
        for line in aside.first:
            self.add(line)
        if aside.left_out:
            self._skip(aside.left_out)
        for line in aside.last:
            self.add(line)

    def advance(self, done: float, total: float | None = None, text: str | None = None) -> None:
        """Note how far the run is. After `close` it is ignored."""
        with self._lock:
            if self._closed:
                return
            self.progress = ReportedProgress(done, total, text)
            announced, self._dirty = self._dirty, True
        if not announced:
            self._changed(self)

    def shown(self, text: str | None) -> str | None:
        """`text` of the run, without its secrets."""
        return text if text is None else hide(text, self.secrets)

    def take(self) -> Aside | None:
        """Hand out what was put aside; None: nothing."""
        with self._lock:
            self._dirty = False
            if self._excerpt is None or not (self._recent or self._first or self._skipped):
                return None
            first, last = self._first, (*chain.from_iterable(self._last), *self._recent)
            aside = Aside(() if first is None else tuple(first), self._skipped, last)
            self._begin()
            return aside

    def close(self) -> None:
        """Ignore what tasks and threads that outlive the run still log."""
        with self._lock:
            self._closed = True
            self._room = 0

    def forget_lines(self) -> None:
        """Drop what was logged; the progress stays."""
        with self._lock:
            self._excerpt = None
            self._recent, self._room = [], 0

    def settle(self) -> KeptLines | None:
        """Turn what was put aside into lines for people; all that is kept, or None: nothing was logged."""
        aside, kept = self.take(), self._excerpt
        if kept is None:
            return None
        if aside is not None:
            kept.extend(aside.first, left_out=aside.left_out, last=aside.last, secrets=self.secrets)
        return kept.kept()

    def _begin(self) -> None:
        self._first, self._skipped = None, 0
        self._last = deque()
        self._recent, self._room = [], 0

    def _make_room(self) -> None:
        """Begin the next part. The first is kept while it may belong to the head."""
        if self._excerpt is None:
            self._excerpt = LogExcerpt()
            self._begin()
        if self._recent:
            self._end_part()
        self._room = _FIRST if self._first is None else _PART

    def _end_part(self) -> None:
        ended, self._recent = self._recent, []
        if self._first is None:
            self._first = ended
            return
        self._last.append(ended)
        most = _LONG_PARTS if len(ended) * _LONG < _PART else _PARTS
        while len(self._last) > most:
            self._skipped += len(self._last.popleft())

    def _skip(self, count: int) -> None:
        """Lines that nobody has; what lies between the first part and them is dropped, too."""
        with self._lock:
            if self._closed or self._excerpt is None:
                return
            if self._first is None:
                self._end_part()
            self._skipped += count + len(self._recent) + sum(map(len, self._last))
            self._last.clear()
            self._recent, self._room = [], 0
