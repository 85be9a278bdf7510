"""Rate limiting of log lines: one line a minute per kind, with the number of occurrences."""

from __future__ import annotations

import logging

from piko.clock import Clock

_KINDS = 100


class Seldom:
    """Counts occurrences by kind, and decides when the next one is logged."""

    def __init__(self, *, clock: Clock, every_s: float = 60.0) -> None:
        self._clock = clock
        self._every_s = every_s
        self._logged: dict[str, tuple[float, int]] = {}

    def due(self, kind: str) -> int | None:
        """The occurrences since the last logged one, including this one; None if it is too early to log
        again."""
        now = self._clock.monotonic()
        logged_at, silent = self._logged.get(kind, (None, 0))
        if logged_at is not None and now - logged_at < self._every_s:
            self._logged[kind] = (logged_at, silent + 1)
            return None
        if len(self._logged) >= _KINDS:
            self._logged.clear()
        self._logged[kind] = (now, 0)
        return silent + 1


class SeldomFilter(logging.Filter):
    """Passes one record a minute of a library's log per message and type of exception."""

    def __init__(self, seldom: Seldom) -> None:
        super().__init__()
        self._seldom = seldom

    def filter(self, record: logging.LogRecord) -> bool:
        raised = record.exc_info[0] if record.exc_info else None
        times = self._seldom.due(f"{record.msg} {raised}")
        if times is None:
            return False
        if times > 1:
            record.msg = f"{str(record.msg).rstrip()} ({times} times since it was last logged)"
        return True
