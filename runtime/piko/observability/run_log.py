"""What one run logs: its first and its last lines, however much it logs.

A line costs its run next to nothing. It arrives as the JSON that the process writes to its own log anyway,
and is put aside as it is. Once a second, and at the end of the run, `settle` turns what was put aside into
lines for people, hides the secrets of the run's config, and keeps the first `HEAD` bytes and the last `TAIL`.
What lies between is counted. A run that logs faster than it is settled keeps the first and the last of what
arrived meanwhile, so that its memory is bounded too.

Threads log concurrently with the event loop; a lock keeps each line whole.
"""

from __future__ import annotations

import json
import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import NamedTuple

from piko.observability.bindings import RUN
from piko.observability.redaction import hide, longest_form
from piko.text import excerpt

HEAD = 16 * 1024
TAIL = 48 * 1024
"""Bytes of the first and of the last lines of a run."""
_FIRST = 2 * HEAD
_LAST = 256 * 1024
"""Characters that are put aside between two times of settling: of the first lines, and of the last."""
_OWN = frozenset({"event", "level", "timestamp", "logger", "exception", "stack", *RUN})
_CUT = re.compile(r"… \d+ bytes …")
_PRINTED = ("stdout", "stderr")


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


class KeptLines(NamedTuple):
    """The first and the last lines of a run, how many it logged, and how many lie between the two.

    A line that goes on, such as a traceback, is indented where it does.
    """

    head: str
    tail: str
    lines: int
    left_out: int


class RunLog:
    """The log and the progress of one run. `changed` is called when there is something to settle."""

    __slots__ = (
        "_aside", "_aside_size", "_changed", "_closed", "_dirty", "_first", "_first_size", "_head",
        "_head_full", "_left_out", "_lines", "_lock", "_skipped", "_tail", "_tail_size", "job_id", "progress",
        "run_id", "secrets",
    )  # fmt: skip

    _skipped: int

    def __init__(self, *, job_id: str, run_id: str, changed: Callable[[RunLog], None]) -> None:
        self.job_id = job_id
        self.run_id = run_id
        self.secrets: Collection[str] = ()
        self.progress: ReportedProgress | None = None
        self._changed = changed
        self._closed = self._dirty = False
        self._lock = threading.Lock()
        self._first: list[str] | None = None
        self._lines = 0
        # The rest is made by the first line: most runs log nothing.

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def said_anything(self) -> bool:
        """Whether there is a line or a progress to keep."""
        return self._first is not None or self.progress is not None

    def add(self, line: str) -> None:
        """Put one event aside, as JSON. After `close` it is ignored."""
        with self._lock:
            if self._closed:
                return
            if self._first is None:
                self._begin()
            self._put(line)
            announced, self._dirty = self._dirty, True
        if not announced:
            self._changed(self)

    def absorb(self, aside: Aside) -> None:
        """Put aside what another process logged for this run."""
        for line in aside.first:
            self.add(line)
        with self._lock:
            if aside.left_out and self._first is not None:
                self._skipped += aside.left_out + len(self._aside)
                self._aside.clear()
                self._aside_size, self._first_size = 0, _FIRST
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
            if self._first is None or not (self._first or self._aside or self._skipped):
                return None
            aside = Aside(tuple(self._first), self._skipped, tuple(self._aside))
            self._first, self._first_size, self._skipped = [], 0, 0
            self._aside.clear()
            self._aside_size = 0
            return aside

    def close(self) -> None:
        """Ignore what tasks and threads that outlive the run still log."""
        with self._lock:
            self._closed = True

    def forget_lines(self) -> None:
        """Drop what was logged; the progress stays."""
        with self._lock:
            self._first = None

    def settle(self) -> KeptLines | None:
        """Turn what was put aside into lines for people; all that is kept, or None: nothing was logged."""
        aside = self.take()
        if aside is not None:
            self._keep_all(aside)
        if self._first is None:
            return None
        return KeptLines(
            head="\n".join(self._head), tail="\n".join(self._tail), lines=self._lines, left_out=self._left_out
        )

    def _begin(self) -> None:
        self._first, self._first_size = [], 0
        self._aside: deque[str] = deque()
        self._aside_size = 0
        self._skipped = 0
        self._left_out = 0
        self._tail_size = 0
        self._head: list[str] = []
        self._head_full = HEAD
        self._tail: deque[str] = deque()

    def _put(self, line: str) -> None:
        assert self._first is not None
        if self._first_size < _FIRST and not self._aside:
            self._first.append(line)
            self._first_size += len(line)
            return
        aside = self._aside
        aside.append(line)
        self._aside_size += len(line)
        while self._aside_size > _LAST:
            self._aside_size -= len(aside.popleft())
            self._skipped += 1

    def _keep_all(self, aside: Aside) -> None:
        if not aside.left_out:
            self._keep(aside.first)
            self._keep(aside.last)
            return
        unread = aside.left_out
        if self._tail or self._left_out:  # the head is full
            unread += len(aside.first)
        else:
            self._keep(aside.first)
        self._leave_out_the_tail(unread)
        self._keep_the_end(aside.last)

    def _keep(self, lines: Collection[str]) -> None:
        for line in _readable(lines, self.secrets):
            self._lines += 1
            size = len(line.encode()) + 1
            if not self._tail and not self._left_out and size <= self._head_full:
                self._head.append(line)
                self._head_full -= size
                continue
            self._tail.append(line)
            self._tail_size += size
            while self._tail_size > TAIL:
                self._tail_size -= len(self._tail.popleft().encode()) + 1
                self._left_out += 1

    def _keep_the_end(self, lines: Sequence[str]) -> None:
        """The last lines that fit are the tail. Those before them need not be read: most of what a run logs
        that logs a gigabyte."""
        for line in _backwards(lines, self.secrets):
            size = len(line.encode()) + 1
            if self._tail_size + size > TAIL:
                break
            self._tail.appendleft(line)
            self._tail_size += size
        self._lines += len(lines)
        self._left_out += len(lines) - len(self._tail)

    def _leave_out_the_tail(self, more: int) -> None:
        """Lines that follow a gap are the tail; what lies before it is left out, as the gap is."""
        self._lines += more
        self._left_out += more + len(self._tail)
        self._tail.clear()
        self._tail_size = 0


def _backwards(lines: Sequence[str], secrets: Collection[str]) -> Iterator[str]:
    """The lines for people, the last first; in parts as long as the tail, to read few for nothing."""
    end = len(lines)
    while end:
        begin, size = end, 0
        while begin and size < TAIL:
            begin -= 1
            size += len(lines[begin])
        yield from reversed(_readable(lines[begin:end], secrets))
        end = begin


def _readable(lines: Collection[str], secrets: Collection[str]) -> list[str]:
    """The lines for people, without secrets; a line that goes on is indented where it does."""
    texts = [_text(line) for line in lines]
    if secrets and texts:
        # All at once: what costs is to look for a secret, not the length of the text.
        hidden = hide("\0".join(texts), secrets).split("\0")
        reach = longest_form(secrets)
        texts = [_without_rests(text, reach) if _CUT.search(text) else text for text in hidden]
    return [text.replace("\n", "\n  ") for text in texts]


def _without_rests(text: str, reach: int) -> str:
    """`text` without what stands beside a cut, which may be one half of a secret."""
    return re.sub(rf".{{0,{reach}}}(… \d+ bytes …).{{0,{reach}}}", r"\1", text, flags=re.DOTALL)


def _text(line: str) -> str:
    """One event for people: `2026-11-29 07:28:19.123Z info     rows_read rows=10`."""
    try:
        event = json.loads(line)
    except ValueError:
        event = {"event": line}
    stamp = str(event.get("timestamp", ""))
    moment = f"{stamp[:10]} {stamp[11:23]}Z" if len(stamp) > 23 else stamp
    printed = event.get("logger") in _PRINTED
    level = "print" if printed else str(event.get("level", ""))
    facts = "".join(
        f" {name}={_value(value)}"
        for name, value in event.items()
        if name not in _OWN and (name != "message" or value != event.get("event"))
    )
    more = "".join(f"\n{event[name]}" for name in ("exception", "stack") if event.get(name))
    return excerpt(f"{moment} {level:<8} {event.get('event', '')}{facts}{more}".rstrip())


def _value(value: object) -> str:
    if isinstance(value, str) and value and not set(value) & set(' "\n\t='):
        return value
    return json.dumps(value, ensure_ascii=False)
