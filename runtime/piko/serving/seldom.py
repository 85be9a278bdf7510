"""What happens a thousand times a second is told once a minute, with how often it was."""

from __future__ import annotations

import logging

from piko.clock import Clock

_KINDS = 100


class Seldom:
    """Counts what is of one kind, and says when it is time to tell of it."""

    def __init__(self, *, clock: Clock, every_s: float = 60.0) -> None:
        self._clock = clock
        self._every_s = every_s
        self._told: dict[str, tuple[float, int]] = {}

    def due(self, kind: str) -> int | None:
        """How many there were since the last was told, this one included; None: it is too early."""
        now = self._clock.monotonic()
        told_at, silent = self._told.get(kind, (None, 0))
        if told_at is not None and now - told_at < self._every_s:
            self._told[kind] = (told_at, silent + 1)
            return None
        if len(self._told) >= _KINDS:
            self._told.clear()
        self._told[kind] = (now, 0)
        return silent + 1


class SeldomFilter(logging.Filter):
    """Lets a library's log through once a minute for each message and type of exception."""

    def __init__(self, seldom: Seldom) -> None:
        super().__init__()
        self._seldom = seldom

    def filter(self, record: logging.LogRecord) -> bool:
        raised = record.exc_info[0] if record.exc_info else None
        times = self._seldom.due(f"{record.msg} {raised}")
        if times is None:
            return False
        if times > 1:
            record.msg = f"{str(record.msg).rstrip()} ({times} times since it was last told)"
        return True
