"""The logs of runs, as those who follow them read them: one look for all of them.

While somebody follows a log, one task looks every `LOOK_S` seconds which of the followed runs have said
something, and reads those logs, each once. A follower is a number, the lines that it has had: a slow one
holds up nobody, and where more was logged than is kept, it reads how many lines were left out.

A stream ends with its run: its replica writes the last lines about a second after the end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from piko.background.backoff import Backoff
from piko.core.types import FINAL_STATES
from piko.observability.logs import get_logger
from piko.store.engine import Database
from piko.store.reports.run_logs import LogStamp, RunLogReader, RunLogReport
from piko.web.shared_look import KEEPALIVE, SharedLook

LOOK_S = 1.0
_LAST_LOOKS = 3
"""Looks after the end of a run in which nothing new was written."""
_RETRY_MS = 2000

log = get_logger(__name__)


@dataclass(slots=True)
class _Followed:
    """One run: what it has said, and in how many looks since its end nothing was new."""

    stamp: LogStamp | None = None
    report: RunLogReport | None = None
    looks: int = 0
    quiet_looks: int = 0

    def take(self, stamp: LogStamp | None, report: RunLogReport | None) -> bool:
        """One look has found this, and no `report` where nothing is new; whether followers are to know."""
        self.quiet_looks = self.quiet_looks + 1 if stamp == self.stamp else 0
        self.looks += 1
        self.stamp = stamp
        self.report = report or self.report
        return report is not None or self.is_over

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come of it; a run without a row was pruned."""
        if self.stamp is None:
            return self.looks > 0
        return self.stamp.state in FINAL_STATES and self.quiet_looks >= _LAST_LOOKS


class LogFeed:
    """Looks at `database` for all followers, of whom there are at most `most`."""

    def __init__(self, *, database: Database, most: int) -> None:
        self._reader = RunLogReader(database=database)
        self._followers: Counter[str] = Counter()
        self._runs: dict[str, _Followed] = {}
        self.shared = SharedLook(
            self._look,
            name="log feed",
            pause_s=lambda: LOOK_S,
            backoff=Backoff(first_s=1.0, longest_s=15.0),
            failed=_failed,
            most=most,
        )

    async def follow(self, run_id: str, *, after: int) -> AsyncGenerator[bytes]:
        """The events of one follower who has had the first `after` lines: `lines`, `progress` and `ended`."""
        with self._of(run_id) as followed:
            async with self.shared.followed():
                async for event in self._events_of(followed, after):
                    yield event

    async def _events_of(self, followed: _Followed, after: int) -> AsyncIterator[bytes]:
        """One event at a time: while a slow follower takes it, a look may have found more."""
        progress = ""
        yield f"retry: {_RETRY_MS}\n\n".encode()
        while not self.shared.closed:
            said, stamp = followed.report, followed.stamp
            if said is not None and said.line_count > after:
                lines, after = said.lines(after=after), said.line_count
                yield _event("lines", lines, number=after)
            elif said is not None and said.progress != progress:
                progress = said.progress
                yield _event("progress", progress, number=after)
            elif followed.is_over:
                yield _event("ended", None if stamp is None else stamp.state, number=after)
                return
            elif not await self.shared.news():
                yield KEEPALIVE

    @contextmanager
    def _of(self, run_id: str) -> Iterator[_Followed]:
        """What the looks find of a run, shared by those who follow it."""
        self._followers[run_id] += 1
        try:
            yield self._runs.setdefault(run_id, _Followed())
        finally:
            self._followers[run_id] -= 1
            if not self._followers[run_id]:
                del self._followers[run_id], self._runs[run_id]

    async def _look(self) -> bool:
        asked = list(self._runs)
        stamps = await self._reader.stamps(asked)
        said = [run_id for run_id, stamp in stamps.items() if self._says_more(run_id, stamp)]
        reports = await self._reader.of_runs(said)
        there = [run_id for run_id in asked if run_id in self._runs]
        news = [self._runs[run_id].take(stamps.get(run_id), reports.get(run_id)) for run_id in there]
        return any(news)

    def _says_more(self, run_id: str, stamp: LogStamp) -> bool:
        followed = self._runs.get(run_id)
        if followed is None or stamp.line_count is None:
            return False
        return followed.stamp != stamp or followed.report is None


def _failed(error: Exception) -> None:
    log.warning("logs_not_read", error=str(error))


def _event(kind: str, data: object, *, number: int) -> bytes:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
