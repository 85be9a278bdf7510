"""The first and the last lines of a log, and how many lie between them.

Lines arrive in groups, as JSON. Most lines of a run that logs much are left out, so a group is read from its
end, and only as far as the last lines reach: what is left out is counted, and costs nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from piko.observability.line_text import readable

HEAD = 16 * 1024
TAIL = 48 * 1024
"""Bytes of the first and of the last lines of a run."""
_AT_ONCE = 16 * 1024
"""Characters that are made readable together."""


class KeptLines(NamedTuple):
    """The first and the last lines of a run, how many it logged, and how many lie between the two.

    A line that goes on, such as a traceback, is indented where it does.
    """

    head: str
    tail: str
    lines: int
    left_out: int


class LogExcerpt:
    """Keeps the first `HEAD` and the last `TAIL` bytes of the lines that it is given."""

    __slots__ = ("_head", "_head_open", "_head_size", "_left_out", "_lines", "_tail", "_tail_size")

    def __init__(self) -> None:
        self._head: list[str] = []
        self._head_size = 0
        self._head_open = True
        self._tail: deque[str] = deque()
        self._tail_size = 0
        self._lines = self._left_out = 0

    def kept(self) -> KeptLines:
        return KeptLines("\n".join(self._head), "\n".join(self._tail), self._lines, self._left_out)

    def extend(
        self, first: Sequence[str], *, left_out: int, last: Sequence[str], secrets: Collection[str]
    ) -> None:
        """Take the next lines, each an event as JSON.

        - `first`: those before a gap.
        - `left_out`: how many lines the gap has, which nobody kept; 0: there is none.
        - `last`: those behind it.
        - `secrets`: what is hidden in the lines that are kept.
        """
        self._lines += len(first) + left_out + len(last)
        lines = first if left_out else (*first, *last)
        if self._head_open:
            lines = lines[self._fill_head(lines, secrets) :]
        if left_out:
            self._leave_out(left_out + len(lines))
            lines = last
        self._fill_tail(lines, secrets)

    def _leave_out(self, count: int) -> None:
        """What lies before a gap of `count` lines is left out, too: the tail has none."""
        self._left_out += count + len(self._tail)
        self._head_open = False
        self._tail.clear()
        self._tail_size = 0

    def _fill_head(self, lines: Sequence[str], secrets: Collection[str]) -> int:
        """Take lines into the head until one does not fit; how many."""
        taken = 0
        for part in _parts(lines):
            for text in readable(lines[part], secrets):
                size = _size(text)
                if self._head_size + size > HEAD:
                    self._head_open = False
                    return taken
                self._head.append(text)
                self._head_size += size
                taken += 1
        return taken

    def _fill_tail(self, lines: Sequence[str], secrets: Collection[str]) -> None:
        """The last lines that fit are the tail; those before them are left out."""
        fitting: deque[str] = deque()
        size = 0
        for text in _backwards(lines, secrets):
            if size + _size(text) > TAIL:
                self._left_out += len(self._tail) + len(lines) - len(fitting)
                self._tail, self._tail_size = fitting, size
                return
            fitting.appendleft(text)
            size += _size(text)
        while self._tail_size + size > TAIL:
            self._tail_size -= _size(self._tail.popleft())
            self._left_out += 1
        self._tail.extend(fitting)
        self._tail_size += size


def _size(text: str) -> int:
    return len(text.encode()) + 1


def _parts(lines: Sequence[str]) -> Iterator[slice]:
    """`lines` in parts of about `_AT_ONCE` characters."""
    begin = size = 0
    for end, line in enumerate(lines, 1):
        size += len(line)
        if size >= _AT_ONCE or end == len(lines):
            yield slice(begin, end)
            begin, size = end, 0


def _backwards(lines: Sequence[str], secrets: Collection[str]) -> Iterator[str]:
    """The lines for people, the last first; in parts, to make few readable for nothing."""
    end = len(lines)
    while end:
        begin, size = end, 0
        while begin and size < _AT_ONCE:
            begin -= 1
            size += len(lines[begin])
        yield from reversed(readable(lines[begin:end], secrets))
        end = begin
